package transport

import "sync/atomic"

// Stats are counts since the Manager was made, but for those that say "now".
type Stats struct {
	Received     uint64 // messages handed to Config.Receive
	Sent         uint64 // messages written
	SendErrors   uint64 // messages that could not be written
	KeepAlives   uint64 // pings, pongs and empty datagrams received
	Malformed    uint64 // messages refused
	Refused      uint64 // of those, answered with 400, 505 or 513
	STUN         uint64 // STUN packets received and ignored
	ReadErrors   uint64 // errors of reading a UDP socket; none of them ends it
	AcceptErrors uint64 // errors of accepting a connection; none of them ends the listener
	Accepted     uint64 // connections accepted
	Dialed       uint64 // connections opened
	Rejected     uint64 // connections closed at once for MaxConns or MaxConnsPerPeer
	Slow         uint64 // connections closed for SlowTimeout
	Idle         uint64 // connections closed for IdleTimeout
	Forgotten    uint64 // UDP peers forgotten for MaxUDPFlows
	Conns        int64  // connections now
	UDPFlows     int64  // UDP peers remembered now
	Dropped      uint64 // events dropped because Config.Event was too slow
}

// counters are Stats while they are counted.
type counters struct {
	received, sent, sendErrors, keepAlives, malformed, refused, stun atomic.Uint64
	readErrors, acceptErrors, accepted, dialed, rejected             atomic.Uint64
	slow, idle, forgotten                                            atomic.Uint64
	conns, udpFlows                                                  atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		Received: c.received.Load(), Sent: c.sent.Load(), SendErrors: c.sendErrors.Load(),
		KeepAlives: c.keepAlives.Load(), Malformed: c.malformed.Load(), Refused: c.refused.Load(), STUN: c.stun.Load(),
		ReadErrors: c.readErrors.Load(), AcceptErrors: c.acceptErrors.Load(),
		Accepted: c.accepted.Load(), Dialed: c.dialed.Load(), Rejected: c.rejected.Load(),
		Slow: c.slow.Load(), Idle: c.idle.Load(), Forgotten: c.forgotten.Load(),
		Conns: c.conns.Load(), UDPFlows: c.udpFlows.Load(),
	}
}
