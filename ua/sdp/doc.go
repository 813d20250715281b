// Package sdp reads and writes session descriptions (RFC 8866) and runs the offer/answer model (RFC 3264) for one
// audio stream. It does no I/O and keeps no state: every function is pure, and any goroutine may call it.
//
// A call goes like this. The side that offers writes [Offer] of its [Local]; the side that answers gives the parsed
// offer to [Answer] and gets both the answer and the [Agreed] parameters; the offerer gives both descriptions to
// [Accept] for its own [Agreed]. In later rounds of the same dialog, Local.Previous is the description this side sent
// last: it keeps the number and order of media lines, the payload type numbers, the session id and the version rules.
//
// The parser is tolerant, because what arrives from real peers is often not quite RFC 8866: whatever can be understood
// is, and each deviation becomes a [Quirk]. Media lines that cannot be served (video, fax, secure profiles) are kept
// and answered with port 0.
//
// Limitations: one audio stream, RTP/AVP and RTP/AVPF without feedback messages; no SRTP, ICE or grouping;
// c= with a host name is read but cannot be agreed on; multicast is refused.
package sdp
