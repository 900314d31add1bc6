package telemetry

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGroupMemory: the lowest limit on the way up counts.
func TestGroupMemory(t *testing.T) {
	root := t.TempDir()
	put := func(file, text string) {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a/memory.max", "4096\n")
	put("a/b/memory.max", "max\n")
	put("memory/x/memory.limit_in_bytes", "9223372036854771712\n")
	put("memory/memory.limit_in_bytes", "2048\n")
	for _, tc := range []struct {
		groups      string
		total, want uint64
	}{
		{"0::/a/b\n", 1 << 20, 4096},
		{"0::/a/b\n", 1024, 1024},
		{"0::/a/b\n", 0, 4096},
		{"0::/gone\n", 77, 77},
		{"3:cpu:/a\n2:memory:/x\n", 1 << 20, 2048},
		{"0::/../../etc\n", 5, 5},
		{"nonsense", 5, 5},
	} {
		if got := groupMemory(root, tc.groups, tc.total); got != tc.want {
			t.Errorf("%q of %d: %d, want %d", tc.groups, tc.total, got, tc.want)
		}
	}
	if MachineMemory() == 0 {
		t.Error("this machine has no memory")
	}
}
