// Package ua is a SIP user agent: accounts that register, calls that are made and answered, and both kept alive while the
// addresses of the host come and go.
//
// An [Agent] owns a transport manager, the transactions above it and the media engine. It is made with [New] and lives as
// long as [Agent.Run] runs. Calls come as [Event] values and are made with [Agent.Dial]; a [Call] is answered, moved and ended
// by the Agent itself according to its [Account], so that a program without any user interface works.
//
// # Goroutines
//
// Everything that belongs to one Call-ID, be it a call or a registration, happens on one queue, in the order in which the
// messages arrived (package transaction); calls never wait for one another. Methods of Agent and Call may be called from any
// goroutine, event handlers included. Config.Event is called from one goroutine, in order.
//
// # When an address changes
//
// A registration knows the flow it was made over and a call the flow and the media address it uses. When the address under
// them goes away, the registration is made anew at once over another flow, or as soon as an address becomes usable, and
// the binding of the dead Contact is removed if the registrar still lists it. Each established call sends its media from
// the new address and then one re-INVITE with a new Contact and a new offer. Nothing else is touched.
//
// # Standards
//
// RFC 3261 sections 8 to 15 and 22, RFC 3264, RFC 3581, RFC 4733, RFC 6026, RFC 7616 and 8760 (client). Not yet: TLS, PRACK, UPDATE,
// REFER, session timers, RFC 5626 flows.
package ua
