package transport

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport/wire"
)

// A Config says what a [Manager] needs and may do. Only Links is required.
// New copies it; changing it later has no effect.
type Config struct {
	// Links tells which addresses exist; an *ifwatch.Watcher whose Run is
	// running, or an *ifwatchtest.Source in tests.
	Links Links

	// Policy says which of them are used. The addresses in Listen are added
	// to its Named. With Policy.Interfaces set, sockets are bound to their
	// interface too (SO_BINDTODEVICE), so that nothing leaves by another.
	Policy ifwatch.Policy

	// Listen is what to listen on; nil means UDP and TCP on port 5060 of
	// every usable address, empty but not nil means nothing.
	Listen []Listen

	// Advertise maps local addresses to those the world sees (1:1 NAT,
	// containers). It changes what Flow.Advertised says, never what is bound.
	Advertise map[netip.Addr]netip.Addr

	// DSCP marks what is sent, 0 to 63; 0 leaves the system's default.
	// It is the operating system's sockets that are marked, not Network's.
	DSCP int

	// Receive is called with every message. Messages of one flow come one
	// after the other, in the order they were sent, on a goroutine that also
	// reads the socket: it must not block, and may use the Flow's methods
	// except those that wait for the peer. Nil drops every message.
	Receive func(Message)

	// Event is called with every event, in order, from one goroutine. It may
	// block and may call the Manager; nil drops every event.
	Event func(Event)

	// Network gives the sockets; nil means the operating system's.
	Network Network

	// Resolver looks up names for Resolve; nil means net.DefaultResolver.
	Resolver *net.Resolver

	// Log gets state changes (Info, Warn) and refused messages (Debug);
	// nil discards.
	Log *slog.Logger

	// Limits bound each message received.
	Limits wire.Limits

	// MaxConns bounds the stream connections, dialed and accepted together:
	// 0 means 16384, negative no limit.
	MaxConns int

	// MaxConnsPerPeer bounds the accepted connections of one remote address:
	// 0 means 256, negative no limit.
	MaxConnsPerPeer int

	// MaxUDPFlows bounds the remembered peers of each UDP listener. The
	// longest unused one is forgotten first, which costs a peer nothing: its
	// next datagram makes a new Flow. 0 means 4096.
	MaxUDPFlows int

	// ConnectTimeout bounds the opening of a connection: 0 means 5 s.
	ConnectTimeout time.Duration

	// WriteTimeout bounds the writing of one message to a connection, which
	// is closed when it passes: 0 means 5 s.
	WriteTimeout time.Duration

	// SlowTimeout bounds the arrival of one message on a connection, from
	// its first byte to its last, and the time an accepted connection has to
	// begin: 0 means 16 s, half of a transaction's life, negative no limit.
	SlowTimeout time.Duration

	// IdleTimeout is how long an accepted connection may be silent in both
	// directions: 0 means 1 h, negative no limit. Connections dialed from
	// here have none.
	IdleTimeout time.Duration
}

// Links tells a Manager about addresses. [ifwatch.Watcher] is one.
type Links interface {
	// Current returns the newest snapshot, never nil.
	Current() *ifwatch.Snapshot
	// Wait returns as soon as there is a snapshot newer than gen.
	Wait(ctx context.Context, gen uint64) (*ifwatch.Snapshot, error)
}

// A Network gives sockets to a Manager. It is there for tests and for hosts
// whose sockets come from elsewhere; everybody else leaves Config.Network nil.
//
// Link-local addresses carry the index of their link, in decimal, as zone.
// device names the link the socket must not leave, "" any. Errors should wrap
// a syscall.Errno, as those of package net do.
type Network interface {
	// ListenPacket binds a UDP socket to local; port 0 means any free one.
	// If the result has the methods ReadFromUDPAddrPort and
	// WriteToUDPAddrPort of *net.UDPConn, they are used.
	ListenPacket(ctx context.Context, local netip.AddrPort, device string) (net.PacketConn, error)

	// Listen listens for streams on local.
	Listen(ctx context.Context, local netip.AddrPort, device string) (net.Listener, error)

	// Dial connects a stream from local, any port, to remote.
	Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort, device string) (net.Conn, error)

	// Source returns the local address that traffic to remote would leave
	// from if nobody chose one.
	Source(ctx context.Context, remote netip.AddrPort, device string) (netip.Addr, error)
}

const (
	defaultMaxConns        = 16384
	defaultMaxConnsPerPeer = 256
	defaultMaxUDPFlows     = 4096
	defaultConnectTimeout  = 5 * time.Second
	defaultWriteTimeout    = 5 * time.Second
	defaultSlowTimeout     = 16 * time.Second
	defaultIdleTimeout     = time.Hour
)

// withDefaults returns a copy of c in which no field means "default" any more,
// and which shares no memory that the caller may change.
func (c Config) withDefaults() Config {
	if c.Listen == nil {
		c.Listen = []Listen{{Proto: UDP, Port: 5060}, {Proto: TCP, Port: 5060}}
	} else {
		c.Listen = append([]Listen{}, c.Listen...)
	}
	c.Policy = withNamed(c.Policy, c.Listen)
	c.Advertise = maps.Clone(c.Advertise)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Receive == nil {
		c.Receive = func(Message) {}
	}
	if c.Event == nil {
		c.Event = func(Event) {}
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	setDefault(&c.MaxConns, defaultMaxConns)
	setDefault(&c.MaxConnsPerPeer, defaultMaxConnsPerPeer)
	setDefault(&c.MaxUDPFlows, defaultMaxUDPFlows)
	setDefault(&c.ConnectTimeout, defaultConnectTimeout)
	setDefault(&c.WriteTimeout, defaultWriteTimeout)
	setDefault(&c.SlowTimeout, defaultSlowTimeout)
	setDefault(&c.IdleTimeout, defaultIdleTimeout)
	return c
}

func setDefault[T int | time.Duration](field *T, def T) {
	if *field == 0 {
		*field = def
	}
}
