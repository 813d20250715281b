package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/gosipua/gosipua/ifwatch"
)

// net reads net_interface, net_af and the net section.
func (c *checker) net() {
	k := c.keys.Net
	p := ifwatch.Policy{
		Interfaces:   c.interfaces(),
		Family:       parse(c, "net_af", c.keys.NetAF, parseFamily),
		Loopback:     parse(c, "net.loopback", k.Loopback, ifwatch.ParseLoopback),
		LinkLocal:    parse(c, "net.link_local", k.LinkLocal, ifwatch.ParseLinkLocal),
		Temporary:    parse(c, "net.temporary", k.Temporary, ifwatch.ParseTemporary),
		Deprecated:   parse(c, "net.deprecated", k.Deprecated, ifwatch.ParseDeprecated),
		Optimistic:   parse(c, "net.optimistic", k.Optimistic, ifwatch.ParseOptimistic),
		CarrierGrace: k.CarrierGrace,
	}
	if p.CarrierGrace == 0 {
		p.CarrierGrace = -time.Nanosecond // the file's 0s means none, the Policy's 0 means its default
	}
	c.cfg.Policy = p
	c.advertise()
}

// parseFamily knows what other programs call the families as well, to name the right word.
func parseFamily(s string) (ifwatch.Family, error) {
	f, err := ifwatch.ParseFamily(s)
	switch strings.ToLower(s) {
	case "ipv4", "4":
		err = fmt.Errorf("%w; did you mean inet?", err)
	case "ipv6", "6":
		err = fmt.Errorf("%w; did you mean inet6?", err)
	}
	return f, err
}

// interfaces reads net_interface; "" is every interface.
func (c *checker) interfaces() ifwatch.Patterns {
	list := c.keys.NetInterface
	if len(list) == 1 && list[0].Value == "" {
		return ifwatch.Patterns{}
	}
	var names []string
	for _, item := range list {
		if !item.Set {
			continue // reported by its type
		}
		if text := notInterface(item.Value); text != "" {
			c.bad(item.Pos, "net_interface", "%s", text)
			continue
		}
		if _, err := ifwatch.ParsePatterns([]string{item.Value}); err != nil {
			c.bad(item.Pos, "net_interface", "%v", err)
			continue
		}
		names = append(names, item.Value)
	}
	p, _ := ifwatch.ParsePatterns(names) // each has been parsed above
	return p
}

// notInterface says what is wrong with a name that no interface can have.
func notInterface(name string) string {
	switch _, err := netip.ParseAddr(strings.TrimPrefix(name, "!")); {
	case name == "":
		return `expected an interface name or a pattern, found "" (for every interface leave the key out)`
	case err == nil:
		return `"` + name + `" is an address; to listen on one address only, name it in sip.listen: udp:ADDRESS:5060`
	case strings.ContainsAny(name, ", \t"):
		return `"` + name + `" has a comma or blank in it; several names are a list: [eth0, "wl*"]`
	}
	return ""
}

// advertise reads net.advertise.
func (c *checker) advertise() {
	const key = "net.advertise"
	for local, public := range c.keys.Net.Advertise {
		switch a := public.Value; {
		case local.IsUnspecified() || local.IsMulticast() || local.Zone() != "":
			c.bad(public.Pos, key, "%s is not an address that a host can have", local)
		case a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			c.bad(public.Pos, key, "%s cannot be advertised: expected an address that others reach", a)
		case local.Unmap().Is4() != a.Unmap().Is4():
			c.bad(public.Pos, key, "%s and %s are not of one family", local, a)
		default:
			if c.cfg.Advertise == nil {
				c.cfg.Advertise = map[netip.Addr]netip.Addr{}
			}
			c.cfg.Advertise[local.Unmap()] = a.Unmap()
		}
	}
}

// log reads the log section.
func (c *checker) log() {
	c.cfg.LogLevel = parse(c, "log.level", c.keys.Log.Level, ParseLogLevel)
	c.cfg.LogJSON = parse(c, "log.format", c.keys.Log.Format, ParseLogFormat)
}

// ParseLogLevel reads debug, info, warn or error.
func ParseLogLevel(s string) (slog.Level, error) {
	return oneOf(
		word[slog.Level]{"debug", slog.LevelDebug}, word[slog.Level]{"info", slog.LevelInfo},
		word[slog.Level]{"warn", slog.LevelWarn}, word[slog.Level]{"error", slog.LevelError},
	)(s)
}

// ParseLogFormat reads text or json, and tells whether it is JSON.
func ParseLogFormat(s string) (isJSON bool, err error) {
	return oneOf(word[bool]{"text", false}, word[bool]{"json", true})(s)
}
