// Three servers share this process and each writes to stderr as it likes.
// Their words belong in one file; the caller gets one line, or one reason.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type console struct {
	out *os.File
	err *os.File
	log string
}

// takeConsole keeps the caller's stdout and stderr for itself and points the
// process's own descriptors at a log file, panics and C-style writers included.
func takeConsole(log string) (*console, error) {
	out, err := duplicate(os.Stdout)
	if err != nil {
		return nil, err
	}
	errs, err := duplicate(os.Stderr)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	for _, std := range []*os.File{os.Stdout, os.Stderr} {
		if err := unix.Dup2(int(file.Fd()), int(std.Fd())); err != nil {
			return nil, err
		}
	}
	return &console{out: out, err: errs, log: log}, nil
}

func duplicate(file *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

func (c *console) fail(err error) {
	fmt.Fprintf(c.err, "bed: %v (log: %s)\n", err, c.log)
	os.Exit(1)
}
