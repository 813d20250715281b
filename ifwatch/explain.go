package ifwatch

// Explain says in one sentence why the verdict on the address is as it is, with names: "DAD waits for carrier: virbr2 has none".
func (s *Snapshot) Explain(a Addr, v Verdict) string { return v.Reason.Text() }

// Explain says in one sentence what is waited for.
func (w Waited) Explain() string { return w.Reason.Text() }
