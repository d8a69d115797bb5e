// The output of this process. Its three servers log to stdout and stderr, which
// are redirected to a file. The caller only reads one line on success, or one
// error message.
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

// redirectOutput returns the stdout and stderr of the caller, and redirects the
// file descriptors of the process to a log file. This includes panics and
// writers that do not use os.Stdout.
func redirectOutput(log string) (*console, error) {
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
	fmt.Fprintf(c.err, "%s: %v (log: %s)\n", programName, err, c.log)
	os.Exit(1)
}
