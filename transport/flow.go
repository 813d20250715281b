package transport

import (
	"context"
	"net/netip"
)

// A Flow is a way to one peer: a connection, or for UDP the pair of a
// listener's socket and a remote address (RFC 5626 section 3). Equal pairs
// have the same Flow while it is in use, so that flows can be compared.
type Flow struct{}

// Proto returns the transport.
func (f *Flow) Proto() Proto { return UDP }

// Local returns the address that is bound; a zone is the link's index.
func (f *Flow) Local() netip.AddrPort { return netip.AddrPort{} }

// Advertised returns what to put into Via and Contact: the address the world
// sees and the port listened on, never with a zone.
func (f *Flow) Advertised() netip.AddrPort { return netip.AddrPort{} }

// Interface returns the name of the link that has the local address, "" if unknown.
func (f *Flow) Interface() string { return "" }

// Remote returns the peer's address; a zone is the link's index.
func (f *Flow) Remote() netip.AddrPort { return netip.AddrPort{} }

// Send writes one message.
func (f *Flow) Send(_ context.Context, _ []byte) error { return ErrClosed }

// Respond sends a response where its topmost Via says (RFC 3261 section 18.2.2, RFC 3581 section 4).
func (f *Flow) Respond(_ context.Context, _ []byte) error { return ErrClosed }

// Done returns a channel that is closed when the flow is down.
func (f *Flow) Done() <-chan struct{} { return nil }

// Err returns why the flow is down; nil while it is up.
func (f *Flow) Err() error { return nil }

// Close ends the flow.
func (f *Flow) Close() {}

// String returns the flow as a person would write it.
func (f *Flow) String() string { return "" }
