package media

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// clockSleeper waits in clock_nanosleep up to an absolute time. Go's timers end with the granularity of epoll_wait, a
// millisecond; this does not, and the far end's jitter statistics show it. It keeps a thread while it sleeps, and does
// not wake early.
type clockSleeper struct {
	origin time.Time
	clock  int64 // CLOCK_MONOTONIC at origin, ns
}

// newSystemSleeper is the most exact sleeper this system has.
func newSystemSleeper() sleeper {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return timerSleeper{}
	}
	return clockSleeper{origin: time.Now(), clock: ts.Nano()}
}

func (c clockSleeper) until(ctx context.Context, t time.Time, _ <-chan struct{}) {
	runtime.LockOSThread() // the thread that slept goes on at once, without a hand-over
	defer runtime.UnlockOSThread()
	ts := unix.NsecToTimespec(c.clock + int64(t.Sub(c.origin)))
	for ctx.Err() == nil {
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
