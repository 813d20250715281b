package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrClosed is returned once Run has returned; it matches net.ErrClosed.
var ErrClosed = fmt.Errorf("transport: manager is closed: %w", net.ErrClosed)

var (
	// ErrAddressGone is the end of a flow whose local address was removed, or
	// is not usable any more: another address may still reach the peer. It is
	// wrapped in what Flow.Err returns.
	ErrAddressGone = errors.New("local address is gone")

	// ErrNoAddress means that no local address is usable for a destination at
	// the moment. Nothing was sent; Manager.Wait tells when to try again.
	ErrNoAddress = errors.New("no usable local address")
)

// A FlowError is what went wrong with a flow on this host or on the way to the
// peer. What the peer answers in SIP is never a FlowError.
type FlowError struct {
	Op     string // "dial", "send", "read", "close"
	Proto  Proto
	Local  netip.AddrPort // may be zero if no source was found
	Remote netip.AddrPort
	Err    error
}

// Error says what was attempted, where, and what came of it.
func (e *FlowError) Error() string {
	if !e.Local.IsValid() {
		return fmt.Sprintf("%s %s %s: %v", e.Op, e.Proto, e.Remote, e.Err)
	}
	return fmt.Sprintf("%s %s %s from %s: %v", e.Op, e.Proto, e.Remote, e.Local, e.Err)
}

// Unwrap returns Err.
func (e *FlowError) Unwrap() error { return e.Err }
