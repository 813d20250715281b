// Package wire reads SIP messages off the wire, without understanding them.
//
// It finds where a message begins and ends, reads the head that a transport
// and a transaction layer need (start line, topmost Via, Call-ID, CSeq), and
// rewrites everything else into the one form that every later parser agrees
// on: header lines unfolded, compact header names spelled out, line ends CRLF,
// one Via value per line without inner white space, a Content-Length that is
// the truth. It refuses what must not be passed on: a second From, a
// Content-Length that is not the body's, a message over the limits.
//
// [Parse] takes one datagram, [Reader] a stream. Both return a [Message] whose
// Raw holds exactly one normalised message, or an [*Error], which says how to
// answer if an answer is possible.
//
// Bodies are bytes and are never looked at. Nothing here allocates more than
// twice per message, keeps state between messages, or starts a goroutine.
//
// RFC 3261 sections 7, 18.2.1, 18.3, 20 and 25; RFC 3581; RFC 5118; RFC 5626 section 4.4.1.
//
// # Limitations
//
// Only the topmost Via is understood; the others are taken apart at their
// commas and passed on. A line may end with a bare LF, because hand-made
// messages do; a bare CR or a NUL inside the head is refused.
package wire
