package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. In a file it is a number, or one with a unit: KB, MB, GB
// (powers of 1000), KiB, MiB, GiB (of 1024).
type Bytes uint64

// ParseBytes reads a size; the unit's case does not matter.
func ParseBytes(s string) (Bytes, error) {
	text := strings.TrimSpace(s)
	digits := strings.TrimRight(text, "BbIiKkMmGg ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("must be a size such as 64MiB, got %q", s)
	}
	unit := strings.ToLower(strings.TrimSpace(text[len(digits):]))
	scale, ok := map[string]uint64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
	}[unit]
	if !ok {
		return 0, fmt.Errorf("has an unknown unit in %q: use B, KB, MB, GB, KiB, MiB or GiB", s)
	}
	if n > math.MaxInt64/scale {
		return 0, fmt.Errorf("is too large: %q", s)
	}
	return Bytes(n * scale), nil
}
