// Package transport moves SIP messages between this host's usable addresses and
// its peers.
//
// A [Manager] owns every socket. It follows the addresses that an
// [ifwatch.Watcher] reports, listens on those that its policy allows from the
// moment they can be bound until the moment they are gone, and treats each by
// itself: what happens to one address closes, rebinds or delays nothing on any
// other. It hands each message that arrives to [Config.Receive], with the [Flow]
// it came on, which is also the way back.
//
//	links := ifwatch.New(ifwatch.Config{})
//	go links.Run(ctx)
//	m := transport.New(transport.Config{Links: links, Receive: receive})
//	err := m.Run(ctx)
//
// # Sending
//
// A response goes out with [Flow.Respond] on the flow that brought its request:
// over UDP from the very socket, over TCP on the very connection. For a request
// [Manager.Resolve] turns a host into a list of [Target] values (RFC 3263) and
// [Manager.Flow] turns one of these into a Flow, whose local address is known
// before anything is sent: Via and Contact take [Flow.Advertised].
//
// Messages are bytes here. Package wire has brought those received into a form
// that any parser reads alike; what is in them, transactions and dialogs are for
// the packages above.
//
// # Following what happens
//
// [Manager.Snapshot] says for every local address what listens on it, or why
// nothing does; [Manager.Wait] returns the next one. [Config.Event] is called
// for each single change, in order. A Flow that goes down closes [Flow.Done], and
// [Flow.Err] says why; an error that matches [ErrAddressGone] means that the
// address under it went away, so that another one may be tried at once.
//
// # Goroutines
//
// Run blocks and owns all state; everything else may be called from anywhere.
// Receive is called from one goroutine for each UDP socket and each connection,
// so messages of one flow come in the order in which they were sent, and a slow
// Receive delays its own socket only. Event has a goroutine of its own.
//
// # Limitations
//
//   - UDP and TCP; TLS and WebSocket listeners and targets are refused.
//   - Resolve does not ask for NAPTR records, and neither remembers dead targets
//     nor races the two families.
//   - That a UDP peer is unreachable (ICMP) is noticed by transaction timers only.
//   - An interface whose name is a number is taken for that index in a zone.
//
// RFC 3261 section 18, RFC 3263, RFC 3581, RFC 4862 section 5.4, RFC 5118, RFC
// 5626 sections 3 and 4.4.1, RFC 6724.
package transport
