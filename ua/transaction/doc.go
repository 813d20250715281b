// Package transaction is the transaction layer of RFC 3261 section 17 over the
// flows of package transport: it turns framed bytes into SIP messages, matches
// them to transactions, retransmits, absorbs retransmissions, and times out.
//
// A [Layer] serves one user agent. Give its Receive to transport.Config.Receive,
// start Run, answer requests through [Server], send requests with Layer.Send.
//
// # One queue per Call-ID
//
// Everything that belongs to one Call-ID runs one at a time, in the order of
// arrival: its messages, the timers of its transactions, every callback of this
// package, and the functions given to Layer.Do. A CANCEL cannot overtake its
// INVITE, nor a 200 the 183 before it. Different Call-IDs never wait for one
// another. So the state of a dialog or a registration needs no lock, as long as
// it is touched on the queue of its Call-ID only.
//
// A callback may block without harm to others, but its own Call-ID stands still
// meanwhile, retransmissions included; what takes long belongs into a goroutine
// that comes back with Do.
//
// From any goroutine: Layer's methods, Client.Cancel, and the methods of Server
// and Client that only return what never changes (Request, Flow). On the queue
// only: Server.Respond, Server.OnCancel, Server.OnEnd, Server.Terminated and
// Server.Response.
//
// # Where it departs from RFC 3261
//
//   - RFC 6026: a 2xx moves an INVITE transaction to Accepted, where timer L or
//     M holds it; a response that cannot be written does not end a server
//     transaction, the error is returned to the caller of Respond.
//   - RFC 4320: a non-INVITE request gets no provisional but a 100 that is sent
//     here, and no 408 or late answer.
//   - A client transaction ends at once when its flow does, instead of with its
//     timer. So does a server transaction whose local address is gone; one whose
//     connection is closed goes on, and answers over a new connection (RFC 3261
//     section 18.2.2).
//   - Transactions are matched within their Call-ID: a message that agrees in
//     branch but not in Call-ID belongs to no transaction.
//
// # Limitations
//
// No proxy: a response with more than one Via is dropped, and no response is
// forwarded. Requests are neither resolved (RFC 3263) nor moved to another flow:
// see [Layer.Oversize] for those that are too large for UDP. Digest, dialogs and
// the retransmission of a 2xx (RFC 3261 section 13.3.1.4) are the caller's.
package transaction
