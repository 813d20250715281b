package ifwatch

import (
	"context"
	"net/netip"
)

// Lookup is what FindPath asks, for tests that compare with the kernel: it fills in s.Route.
func (s *Selection) Lookup(ctx context.Context, dst netip.Addr, link int) (Route, error) {
	return s.lookup(ctx, dst, link)
}

// Labels returns the label table that Choose uses.
func (s *Selection) Labels() []Label { return s.contest().tables.Labels }

// ErrUndecided is what Lookup returns where only connect(2) can tell.
var ErrUndecided = errUndecided
