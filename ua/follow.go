package ua

import (
	"context"

	"github.com/gosipua/gosipua/transport"
)

// follow calls gone, on a goroutine of its own, when a flow ends, unless stop was called or the Agent has stopped before.
func (a *Agent) follow(f *transport.Flow, gone func()) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(a.ctx)
	go func() {
		defer stop()
		select {
		case <-f.Done():
			gone()
		case <-ctx.Done():
		}
	}()
	return stop
}

// alive says whether a flow is a connection that is up.
func alive(f *transport.Flow) bool { return f.Proto() != transport.UDP && !isDone(f) }

func isDone(f *transport.Flow) bool {
	select {
	case <-f.Done():
		return true
	default:
		return false
	}
}
