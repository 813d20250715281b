package ifwatch

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// netlinkRetry is how long the Watcher polls before it tries netlink again: a sandbox never gives way, but a lack of
// descriptors or memory does.
const netlinkRetry = time.Minute

func (w *Watcher) watch(ctx context.Context) error {
	f := &feed{w: w}
	for polling := false; ; {
		err := w.follow(ctx, f)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		retry := netlinkRetry
		if _, refused := errors.AsType[*refusedError](err); !refused {
			w.log.WarnContext(ctx, "netlink failed, starting anew", slog.Any("err", err))
			polling, retry = false, time.Second
		} else if !polling {
			w.log.WarnContext(ctx, "netlink is refused, polling", slog.Any("err", err), slog.Duration("every", w.cfg.Poll))
			polling = true
		}
		if err := f.poll(ctx, readSystem, time.Now().Add(retry)); err != nil {
			return err
		}
	}
}

// refusedError says that following could not even begin.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// follow reads netlink until ctx ends or something fails.
func (w *Watcher) follow(ctx context.Context, f *feed) error {
	events, err := openSocket(ctx, w.rcvbuf, groups()...)
	if err != nil {
		return &refusedError{err}
	}
	defer events.close()
	dumps, err := openSocket(ctx, 0)
	if err != nil {
		return &refusedError{err}
	}
	defer dumps.close()
	return newFollower(f, events, dumps, asleep).run(ctx)
}

// readSystem reads everything once, by netlink or by what is left without it.
func readSystem(ctx context.Context) (reading, error) {
	r, err := readNetlink(ctx)
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	old, errOld := readIoctl()
	if errOld != nil {
		return reading{}, errors.Join(err, errOld)
	}
	return old, nil
}

func readNetlink(ctx context.Context) (reading, error) {
	conn, err := openSocket(ctx, 0)
	if err != nil {
		return reading{}, err
	}
	defer conn.close()
	d := newDumper(conn)
	r := reading{source: "netlink"}
	if r.links, r.sure, err = d.links(ctx); err != nil {
		return reading{}, err
	}
	for _, l := range r.links {
		for _, family := range [...]Family{Inet, Inet6} {
			addrs, sure, err := d.addrs(ctx, l.Index, family)
			if err != nil {
				return reading{}, err
			}
			r.addrs = append(r.addrs, addrs...)
			r.sure = r.sure && sure
		}
	}
	return r, nil
}
