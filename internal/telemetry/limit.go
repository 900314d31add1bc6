package telemetry

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// MachineMemory is the memory in bytes that this process may come to use: what its
// control group allows (version 2, or 1), and the machine has. 0 where the system
// tells neither.
func MachineMemory() uint64 {
	total := uint64(0)
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if info, err := fs.Meminfo(); err == nil && info.MemTotalBytes != nil {
			total = *info.MemTotalBytes
		}
	}
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return total
	}
	return groupMemory("/sys/fs/cgroup", string(group), total)
}

// groupMemory is the lowest limit of the control groups that a process is in, as
// /proc/self/cgroup lists them, and of those above them; at most total, unless that
// is 0.
func groupMemory(root, groups string, total uint64) uint64 {
	for line := range strings.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		dir, file := root, "memory.max"
		switch {
		case controllers == "memory":
			dir, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		case controllers != "":
			continue
		}
		for at := filepath.Clean("/" + path); ; at = filepath.Dir(at) {
			if n, ok := readLimit(filepath.Join(dir, at, file)); ok && (total == 0 || n < total) {
				total = n
			}
			if at == "/" {
				break
			}
		}
	}
	return total
}

// readLimit reads one limit; "max" and what is not there are none.
func readLimit(file string) (uint64, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil && n > 0
}
