package ifwatch

// Pending returns the address that a new flow should wait for: one on the link by which the destination is reached, whose
// Duplicate Address Detection still runs, and which the policy would choose once it has finished. Until then the route by
// that link is there, while Choose has to take an address of another link, if it finds one at all: one that the peer may
// not be able to answer to. A flow that begins with it would soon have to be moved.
//
// DAD takes one to two seconds. A caller should wait no longer than a little more, and go on with what there is if it does
// not end. An address whose DAD cannot run (no carrier) or has failed is not waited for, nor is one that comes beside another
// of the same link that serves as well now.
func (s *Selection) Pending() (Addr, bool) {
	if now := s.Choose(); s.Route.Link == 0 || now.Source.IsValid() && now.Link == s.Route.Link {
		return Addr{}, false
	}
	awaited := make(map[Key]Addr)
	then := *s.Snapshot
	then.Addrs = append([]Addr(nil), s.Snapshot.Addrs...)
	for i := range then.Addrs {
		if a := &then.Addrs[i]; a.Link == s.Route.Link && a.Flags.Has(Tentative) && !a.Flags.Has(DADFailed) {
			awaited[a.Key] = *a
			a.Flags &^= Tentative | Optimistic
		}
	}
	later := *s
	later.Snapshot = &then
	a, ok := awaited[later.Choose().Addr.Key]
	return a, ok
}
