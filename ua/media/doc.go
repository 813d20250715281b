// Package media sends and receives the audio of calls: RTP and RTCP (RFC 3550, 3551), G.711 and telephone-event
// (RFC 4733), with files, tones and an echo to talk to. It knows neither SIP nor where addresses come from: it takes
// what two descriptions have agreed on (package sdp), and is told which local address to use.
//
// An [Engine] keeps time for all calls; its Run blocks, and the caller starts it. A [Stream] is one call's RTP session:
//
//   - [Engine.Open] binds a pair of UDP ports on exactly one local address, never on all of them.
//   - [Stream.Describe] says what to offer; [Stream.Start] takes what has been agreed, in the first round and in each later.
//   - [Stream.SetSource] and [Stream.SetSink] change what is said and where it is heard; [ParseSource] and [ParseSink] open
//     what a "driver,argument" string in baresip's manner names.
//   - [Stream.Move] goes to another local address in mid-call: it sends from there with the next packet, and the far end
//     hears no gap. An address that has died shows as send errors, which are counted and told of, and end nothing.
//   - [Stream.Stats] has everything that was counted, up to the mean opinion score of the E-model (ITU-T G.107).
//
// All methods may be called from any goroutine. Listeners (OnEvent, OnDTMF) are called from one goroutine of the Engine,
// in order, and must not block. Sources and sinks are called at packet rate, and must not block either: those of this
// package read and write their files in goroutines of their own.
//
// # What is done with packets
//
// Streams get their turns at absolute times in slots of a millisecond, on Linux by clock_nanosleep; when the process is
// held up, what was missed is passed over instead of sent in a burst. Received audio goes through a jitter buffer that
// works by time and adapts to the network between 20 and 200 ms, and losses are concealed. We send to the address in the
// peer's description until its packets have come from another one for a while, four in a row after 100 ms of silence
// from the first (RFC 4961, RFC 7362); packets that go on with the sequence we hear are played from wherever they come.
// While nothing is sent, a keep-alive packet goes out every 15 s (RFC 6263). RTCP goes to its own port or shares one
// (RFC 3605, RFC 5761).
//
// # What it costs
//
// A leg sends and receives 50 packets of G.711 a second. Two virtual cores of an Intel Xeon, Linux 6.18, Go 1.26, both
// ends of each call in one process and the far end's turns included, no packet lost:
//
//	legs   CPU, % of a core   send lateness p50   p99
//	  50    13                 0.05 ms            0.2 ms
//	 200    24                 0.09 ms            0.2 ms
//	1000    87                 0.26 ms            0.6 ms
//	2000   170                 0.5 ms             11-33 ms
//
// Three quarters of it is the kernel's UDP: a turn less the sockets takes 4 us and allocates nothing. To measure again,
// with a priority above whatever else runs (without it, lateness shows the other programs):
//
//	go test -c -o /tmp/media.test ./ua/media
//	chrt -f 5 /tmp/media.test -test.run xxx -test.bench Legs -test.benchtime 1x
//
// # Limitations
//
// One audio stream per call, and one codec rate (8 kHz) at a time. No SRTP, ICE, Opus, G.722, comfort noise (RFC 3389) or
// redundancy (RFC 2198); no sound cards. In-band DTMF is not detected. RTCP sends the common reports only, at the fixed
// minimum interval of two parties (RFC 3550 section 6.2). Elsewhere than on Linux sockets are bound to addresses but not
// to interfaces, packets are not marked with a DSCP, and a stalled link can hold up a pacer.
package media
