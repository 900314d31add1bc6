package wasmhost

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"
)

// addressOf is where a slice of mapped memory lies; such memory does not move.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// pagemapFile has 8 bytes for each page of this process's addresses:
// https://docs.kernel.org/admin-guide/mm/pagemap.html
const pagemapFile = "/proc/self/pagemap"

// Bits of pagemap. A page of zeros that was only read is present, but shared by
// all who read zeros: it costs nothing and is not mapped exclusively.
const (
	pagePresent   = 1 << 63
	pageExclusive = 1 << 56
)

// pagemapPiece is what is read at a time: the pages of 2 MiB.
const pagemapPiece = 4096

// pagemap tells which pages of this process are in memory.
type pagemap struct{ file *os.File }

func openPagemap() (pagemap, error) {
	f, err := os.Open(pagemapFile)
	if err != nil {
		return pagemap{}, fmt.Errorf("wasmhost: resident memory: %w", err)
	}
	return pagemap{f}, nil
}

func (p pagemap) close() { _ = p.file.Close() } // only read

// resident returns how many of size bytes at an address are in memory and this
// process's own.
func (p pagemap) resident(at uintptr, size int64) (int64, error) {
	page := int64(os.Getpagesize())
	var buf [pagemapPiece]byte
	var found int64
	for first, left := int64(at)/page, (size+page-1)/page; left > 0; {
		n := min(left, pagemapPiece/8)
		if _, err := p.file.ReadAt(buf[:8*n], 8*first); err != nil {
			return 0, fmt.Errorf("wasmhost: resident memory: %w", err)
		}
		for i := range n {
			const own = pagePresent | pageExclusive
			if binary.NativeEndian.Uint64(buf[8*i:])&own == own {
				found += page
			}
		}
		first, left = first+n, left-n
	}
	return found, nil
}
