// Package ifwatch knows which local addresses a program may bind, tell others about, and send from, why not the rest, and
// when that changes.
//
// An address that exists need not be usable: while Duplicate Address Detection runs (RFC 4862), bind returns
// EADDRNOTAVAIL, and on a bridge without carrier it never ends. One that could be bound may have lost its carrier, be
// deprecated, or be claimed by another host. Programs that bind when they start, or when an address appears, fail on such
// hosts; this package tells them what to wait for.
//
// # Use
//
// A [Watcher] holds facts, [Link] and [Addr], in an immutable [Snapshot]. A [Policy] makes a [Verdict] of them: a pure
// function with four answers (bind, keep, advertise, new flows) and the reasons for them. So one Watcher serves any number
// of policies, and a policy is tested without a network; for programs that follow a Watcher, package ifwatchtest has one
// that follows a script.
//
//	w := ifwatch.New(ifwatch.Config{})
//	go w.Run(ctx)
//	for gen := uint64(0); ; {
//		s, err := w.Wait(ctx, gen)
//		if err != nil {
//			return err
//		}
//		gen = s.Gen
//		... policy.Judge(s, a, time.Now()) for each a of s.Addrs
//	}
//
// Updates are levels, not edges: Wait returns the newest snapshot if it is newer than the one the caller has. Whoever is slow
// sees fewer snapshots, and never an outdated one last; nobody can block the Watcher. A verdict that changes by itself, at
// the end of a lifetime or of the carrier grace, says when ([Verdict.Next]); the Watcher makes no snapshot for that.
//
// Everything is published at once, but for a flood: after 32 snapshots that follow each other closely there are at most 250 a
// second until it is over, and its last change is seen at most 4 ms late. To wait until a flapping link has settled is up to the
// caller, who knows which of its actions are cheap: open and close sockets at once, and let only what others see, a registration
// for example, settle.
//
// All methods may be called from any goroutine, and snapshots be shared. Run owns everything else.
//
// # Linux
//
// One netlink socket reports links and addresses of both families in their order. It is opened before everything is read
// the first time, link by link. When events are lost (ENOBUFS), the queue is emptied first, because until then the kernel
// drops everything in silence; then all is read again, what was queued meanwhile is applied, and the kernel's counter of
// drops is compared. An interrupted dump is repeated. Some changes have no event of their own; they are found by reading a
// link's addresses when the link changes and once more 200 ms later. A check of everything each minute finds the rest:
// [Stats] counts its corrections, which should be none. After a suspend everything is read again.
//
// No privilege is needed. Where netlink is refused, as in some sandboxes, and on other systems, the Watcher polls and says so
// once in the log.
//
// # Limitations
//
//   - Changes without an event are seen within a minute: sysctls such as use_tempaddr, an address that was added by the kernel
//     and is still tentative, the alternative names of a link that is down.
//   - Linux reports the loss of carrier up to a second late, and nothing tells earlier.
//   - Linux knows no duplicate detection for IPv4 (RFC 5227). Where a daemon does it, the address appears when it is over.
//   - Darwin, FreeBSD and Windows are polled: links and addresses through package net, then what else the system tells. That is
//     the flags of IPv6 addresses (tentative, duplicated, deprecated, temporary) on Darwin and FreeBSD, those of both families and
//     lifetimes on Windows. They were written from the systems' headers and are tested with literal bytes, not yet on the systems.
//   - Linux without netlink is polled, too: IPv6 with flags and without lifetimes; of IPv4 only the first address of each link.
//   - Without strict checking (before Linux 4.20) reading a link reads all of them.
//   - Bind has the last word. An address may vanish between a snapshot and the call.
//
// # Cost
//
// Measured on Linux 6.18 on two virtual cores that five times as many programs wanted; make bench-ifwatch measures anew. From the
// kernel's notification to the return of Wait: 15 us (median), 1 ms (99 %). Reading 10,000 addresses on 40 links: 7 ms, 3.2 MB in
// 620 allocations. An event, from bytes to snapshot, with 13 addresses: 3 us and 2.6 kB; a verdict 0.1 us. 1,000 events a second
// with somebody in Wait: 2.6 % of a core. Idle for 60 s: 2.4 ms of processor time; the Watcher sets a timer each 15 s and reads
// everything once.
//
// make long forces overflows by 1,000 bursts of up to 5,000 changes into a receive buffer for two, and does 10,000 random
// operations; no snapshot was left wrong.
package ifwatch
