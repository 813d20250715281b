//go:build !linux

package media

// newSystemSleeper is the most exact sleeper this system has.
func newSystemSleeper() sleeper { return timerSleeper{} }
