// Package media sends and receives the audio of calls: RTP and RTCP (RFC 3550) with G.711 and telephone-event.
package media
