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

var (
	errNotSupported = errors.New("this transport is not yet supported")
	errNoVia        = errors.New("the response has no Via that can be read")
	errFlowClosed   = errors.New("closed by this side")
	errPeerClosed   = errors.New("closed by the peer")
	errSlow         = errors.New("the peer did not finish its message in time")
	errIdle         = errors.New("idle for too long")
	errMakeRoom     = errors.New("closed to make room for another connection")
	errTooMany      = errors.New("too many connections")
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

// goneError says why an address cannot be kept; s is nil if it does not exist.
func goneError(local netip.Addr, s *site) error {
	if s == nil {
		return fmt.Errorf("%w: %s was removed", ErrAddressGone, local)
	}
	return fmt.Errorf("%w: %s: %s", ErrAddressGone, s.shown, s.why)
}

// An addressError says that nothing local can reach a destination, in the words
// that help: which family, which destination, and why not. It matches ErrNoAddress.
type addressError struct{ text string }

func (e *addressError) Error() string        { return e.text }
func (e *addressError) Is(target error) bool { return target == ErrNoAddress }
