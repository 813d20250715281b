//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package media

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile claims a file for as long as it is open, against other files opened on it here and elsewhere.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
