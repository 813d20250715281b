package ifwatch

import (
	"errors"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// describe adds the states and lifetimes of addresses to what was read. An address of which the system does not tell stays
// without.
func describe(r *reading, now time.Time) {
	known := windowsAddrs()
	for i := range r.addrs {
		a := &r.addrs[i]
		if w, ok := known[Key{Link: a.Link, Addr: a.Addr}]; ok {
			w.describe(a, now)
		}
	}
}

// windowsAddrs asks for all addresses. The keys have no prefix length.
func windowsAddrs() map[Key]windowsAddr {
	known := map[Key]windowsAddr{}
	for a := adapters(); a != nil; a = a.Next {
		index := int(a.IfIndex)
		if index == 0 { // IPv6 only; package net does the same
			index = int(a.Ipv6IfIndex)
		}
		for u := a.FirstUnicastAddress; u != nil; u = u.Next {
			ip, ok := netip.AddrFromSlice(u.Address.IP())
			if !ok {
				continue
			}
			known[Key{Link: index, Addr: ip.Unmap()}] = windowsAddr{
				dad: u.DadState, prefixOrigin: u.PrefixOrigin, suffixOrigin: u.SuffixOrigin,
				preferred: u.PreferredLifetime, valid: u.ValidLifetime,
			}
		}
	}
	return known
}

// adapters returns the list of adapters; nil if the system refuses.
func adapters() *windows.IpAdapterAddresses {
	const skip = windows.GAA_FLAG_SKIP_ANYCAST | windows.GAA_FLAG_SKIP_MULTICAST | windows.GAA_FLAG_SKIP_DNS_SERVER
	size := uint32(15000) // what Microsoft recommends to begin with
	for range 3 {         // it may grow between two calls
		buf := make([]byte, size)
		list := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buf[0]))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, skip, 0, list, &size)
		if err == nil && size > 0 {
			return list
		}
		if !errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) {
			return nil
		}
	}
	return nil
}
