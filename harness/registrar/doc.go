// Package registrar is a small SIP registrar and proxy that lives in memory, for demonstrations and tests.
//
// A [Server] takes REGISTER with digest authentication (RFC 3261 section 10.3, RFC 7616), and forwards every other request for one of its users to
// the newest of that user's contacts, and requests inside a dialog where their Route says. It is a stateless proxy (RFC 3261
// section 16.11) that stays in the path of every call (Record-Route), so that all of it can be seen through Config.Message.
//
// # Goroutines
//
// [Server.Run] blocks; messages are handled one at a time, in the order they came. Config.Message is called from that goroutine too.
//
// # Limitations
//
// One contact at a time gets a request (no forking), passwords are kept in clear, only REGISTER is authenticated, there is no
// persistence, and a registrar that is sent more than it can handle drops messages as a network would.
package registrar
