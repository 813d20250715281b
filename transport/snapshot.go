package transport

import (
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
)

// A Snapshot says what a Manager does with every local address, and why.
// It is immutable.
type Snapshot struct {
	Gen   uint64            // counts up by one with each change; 0 before the first
	Links *ifwatch.Snapshot // the facts it rests on, never nil
	Addrs []AddrState       // one for each entry of Links, in its order, then those waited for
}

// An AddrState is the state of one local address, or of one that is waited for:
// then Verdict.Reason is interface_missing or address_missing, Local is the
// address asked for or zero, and Verdict answers no to everything.
type AddrState struct {
	Addr      ifwatch.Addr
	Local     netip.Addr // with the link's name as zone if it is link-local
	Interface string     // the link's name, or the one waited for
	Verdict   ifwatch.Verdict
	Why       string // Verdict in words, for people
	Listeners []ListenerState
}

// A ListenerState is the state of one listener of an address.
type ListenerState struct {
	Proto Proto
	Port  uint16 // the real one once it is listened on
	State State
	Err   error     // why it failed, wrapping the system's error; nil otherwise
	Retry time.Time // when a failed one is tried again
}

// A State is where in its life a listener is.
type State string

// The states of a listener.
const (
	Planned   State = "planned"   // would be listened on; only Plan says so
	Waiting   State = "waiting"   // its address is not usable yet; AddrState says why
	Listening State = "listening" //
	Draining  State = "draining"  // serves the flows it has; no new one is begun from here
	Failed    State = "failed"    // the system refused; it is tried again at Retry
)

// An Event is something that happened to an address, a listener or a flow.
type Event struct {
	Kind      EventKind
	Time      time.Time
	Local     netip.AddrPort // port 0 for AddressUp and AddressDown; a zone is the link's index
	Interface string
	Proto     Proto // empty for AddressUp and AddressDown
	Flow      *Flow // of FlowUp and FlowDown
	Why       string
}

// An EventKind is a kind of Event.
type EventKind string

// The kinds of events. FlowUp and FlowDown tell of connections, and of the UDP
// flows that were asked for with Manager.Flow; a UDP peer that merely sent
// something is no event, since anybody can send from any number of addresses.
const (
	AddressUp    EventKind = "address_up"    // became fit for new flows
	AddressDown  EventKind = "address_down"  // is no longer fit for new flows
	ListenerUp   EventKind = "listener_up"   // is listened on
	ListenerDown EventKind = "listener_down" // is listened on no longer
	FlowUp       EventKind = "flow_up"
	FlowDown     EventKind = "flow_down"
)
