package wasmhost

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// Background calls. A guest that computes for long keeps a processor busy, and what else
// the node does waits for the others: the system's scheduler gives each thread its share,
// some milliseconds at a time. A call that is expected to be long runs on a thread of its
// own, to which the system prefers the node's others.
const (
	// backgroundNice is by how much its thread is nicer: it gets a tenth of what another
	// gets that wants the same processor. Nicer still, and it might, beside other busy
	// programs, not come for long to where Go can stop it for a collection.
	backgroundNice = 10
	leastNice      = 19 // the system's bound (setpriority(2))
	// backgroundSlices run between two times that such a call gives way to goroutines. It
	// stays on its thread, so that each time costs two changes of threads.
	backgroundSlices = 20
)

// backgroundPlaces is how many calls run in the background at a time. Each holds one of
// the places that Go has for running threads even while the system does not let it run:
// half of them are for everything else. None, if there is but one place.
func backgroundPlaces() int { return runtime.GOMAXPROCS(0) / 2 }

// inBackground runs do in the background and returns when it has ended; false when all
// places are taken, and do was not run.
func (h *Host) inBackground(do func()) bool {
	select {
	case h.background <- struct{}{}:
	default:
		return false
	}
	defer func() { <-h.background }()
	if panicked := onNiceThread(do); panicked != nil {
		panic(panicked) // whoever supervises the caller is to see it
	}
	return true
}

// onNiceThread runs do on a thread that ends with it, and returns what it panicked with.
// A thread may become nicer but, without privileges, not less nice again. It is not the
// first, whose niceness is what the system shows as the process's.
func onNiceThread(do func()) (panicked any) {
	onOwnThread(func() {
		defer func() { panicked = recover() }()
		beNice()
		do()
	})
	return panicked
}

// beNice makes the calling thread nicer. On Linux each has a niceness of its own. A system
// that forbids it leaves it as it is.
func beNice() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, min(leastNice, threadNice()+backgroundNice))
}

// threadNice is the calling thread's niceness, -20 to 19.
func threadNice() int {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - n // what the kernel returns is never negative
}

// giveWay lets other goroutines run between slices. A guest does not by itself: who is
// woken meanwhile would wait 10 ms for Go's scheduler to see to it.
func (in *Instance) giveWay() {
	c := &in.call
	if c.slices++; c.background && c.slices%backgroundSlices != 0 {
		return
	}
	runtime.Gosched()
}

// handleInBackground is serve in the background; false when there was no place, and nothing ran.
// It is a function of its own so that only here call and outcome are moved to the heap.
func (in *Instance) handleInBackground(ctx context.Context, c Call, out *Outcome) bool {
	c.background = true
	var came Outcome
	if !in.host.inBackground(func() { in.serve(ctx, &c, nil, &came) }) {
		return false
	}
	*out = came
	return true
}
