package transport

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gosipua/gosipua/transport/wire"
)

// A Flow is a way to one peer: a connection, or for UDP the pair of a
// listener's socket and a remote address (RFC 5626 section 3). Everything
// between the same two addresses comes on the same *Flow while it is in use, so
// flows can be compared. Its methods may be called from any goroutine.
type Flow struct {
	m      *Manager
	proto  Proto
	local  netip.AddrPort
	remote netip.AddrPort

	udp    *udpSocket // of UDP
	stream *stream    // of everything else

	asked atomic.Bool  // Manager.Flow returned it
	used  atomic.Int64 // when it was last used, in Unix seconds
}

func (f *Flow) touch() { f.used.Store(time.Now().Unix()) }

// forgettable orders flows by how little is lost with them: those that were
// asked for count as used an hour later than they were.
func (f *Flow) forgettable() int64 {
	used := f.used.Load()
	if f.asked.Load() {
		used += int64(time.Hour / time.Second)
	}
	return used
}

// Proto returns the transport.
func (f *Flow) Proto() Proto { return f.proto }

// Local returns the address that is bound; a zone is the link's index.
func (f *Flow) Local() netip.AddrPort { return f.local }

// Remote returns the peer's address; a zone is the link's index.
func (f *Flow) Remote() netip.AddrPort { return f.remote }

// Advertised returns what to put into Via and Contact: the address the world
// sees (Config.Advertise), never with a zone, and a port at which this host can
// be reached: the one listened on, even if a connection left from another. If
// nothing listens there with this transport, it is the port of the connection.
func (f *Flow) Advertised() netip.AddrPort {
	addr, port := f.local.Addr().WithZone(""), f.local.Port()
	if f.stream != nil && !f.stream.accepted {
		if s := f.m.view.Load().at[f.local.Addr()]; s != nil && s.ports[f.proto] != 0 {
			port = s.ports[f.proto]
		}
	}
	if public, ok := f.m.cfg.Advertise[addr]; ok {
		addr = public
	}
	return netip.AddrPortFrom(addr, port)
}

// Interface returns the name of the link that has the local address, "" if it
// is not known.
func (f *Flow) Interface() string {
	if s := f.m.view.Load().at[f.local.Addr()]; s != nil {
		return s.iface
	}
	if f.udp != nil {
		return f.udp.iface
	}
	return f.stream.iface
}

// Send writes one message. Over a connection it waits for other messages to be
// written first, until ctx ends, and then at most Config.WriteTimeout. Without
// an error the message is on its way; only an answer says that it arrived.
// Errors are *FlowError, or what Err returns if the flow is down.
func (f *Flow) Send(ctx context.Context, message []byte) error {
	f.touch()
	if f.udp != nil {
		return f.udp.send(message, f.remote)
	}
	return f.stream.send(ctx, message)
}

// Respond sends a response to a request that came on f, where its topmost Via
// says (RFC 3261 section 18.2.2, RFC 3581 section 4). Over UDP it leaves from the
// socket that the request came to. If the connection is gone, one new one is
// opened from the same local address.
func (f *Flow) Respond(ctx context.Context, response []byte) error {
	via, ok := wire.TopVia(response)
	if !ok {
		return &FlowError{Op: "send", Proto: f.proto, Local: f.local, Remote: f.remote, Err: errNoVia}
	}
	f.touch()
	if f.udp != nil {
		return f.udp.send(response, f.answerTo(via))
	}
	err := f.stream.send(ctx, response)
	if err == nil || !isDown(f.Done()) {
		return err
	}
	again, dialErr := f.m.Flow(ctx, Target{Proto: f.proto, Addr: netip.AddrPortFrom(f.remote.Addr(), sentByPort(via, f.proto)), Local: f.local.Addr()})
	if dialErr != nil {
		return fmt.Errorf("%w; and then: %w", err, dialErr)
	}
	return again.Send(ctx, response)
}

// answerTo is where a response over UDP goes: the address that the request came
// from, which SetReceived has made sure that Via says, at the port it came from
// if the client asked for that with rport, else at the port of the sent-by.
func (f *Flow) answerTo(via wire.Via) netip.AddrPort {
	if a, err := netip.ParseAddr(via.MAddr); err == nil && a.Is4() == f.local.Addr().Is4() && a.Zone() == "" {
		return sameLink(netip.AddrPortFrom(a, sentByPort(via, UDP)), f.local.Addr())
	}
	if via.HasRPort {
		return f.remote
	}
	return netip.AddrPortFrom(f.remote.Addr(), sentByPort(via, UDP))
}

func sentByPort(via wire.Via, p Proto) uint16 {
	if via.Port != 0 {
		return via.Port
	}
	return p.Port()
}

func isDown(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed when the flow is down: its connection
// or its listener has ended. That a peer over UDP is gone nobody can tell.
func (f *Flow) Done() <-chan struct{} {
	if f.udp != nil {
		return f.udp.done
	}
	return f.stream.done
}

// Err returns why the flow is down; nil while it is up.
func (f *Flow) Err() error {
	if f.udp != nil {
		return f.udp.reason()
	}
	return f.stream.reason()
}

// Close ends a connection. A UDP flow shares its socket with all others and has
// nothing to end.
func (f *Flow) Close() {
	if f.stream != nil {
		f.stream.end(errFlowClosed)
	}
}

// String returns the flow as people write it: "udp 192.0.2.1:5060 > 192.0.2.9:5060".
func (f *Flow) String() string {
	return string(f.proto) + " " + f.local.String() + " > " + f.remote.String()
}

// LogValue makes loggers that drop a record not pay for String.
func (f *Flow) LogValue() slog.Value { return slog.StringValue(f.String()) }

func (f *Flow) event(kind EventKind, now time.Time, why error) Event {
	e := Event{Kind: kind, Time: now, Local: f.local, Interface: f.Interface(), Proto: f.proto, Flow: f}
	if why != nil {
		e.Why = why.Error()
	}
	return e
}

// tag makes the To tag of a response that no transaction stands behind: the
// same for every copy of a request (RFC 3261 section 8.2.7), and not to be guessed.
func (m *Manager) tag(h wire.Head) string {
	var hash maphash.Hash
	hash.SetSeed(m.seed)
	for _, s := range [...]string{h.CallID, h.Via.Branch, h.CSeqMethod} {
		hash.WriteString(s)
		hash.WriteByte(0)
	}
	hash.WriteString(strconv.FormatUint(uint64(h.CSeq), 10))
	return strconv.FormatUint(hash.Sum64(), 36)
}
