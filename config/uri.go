package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/gosipua/gosipua/internal/yamlpos"
	"github.com/gosipua/gosipua/ua"
)

var (
	// userPart is the user of a SIP URI (RFC 3261 section 25.1: unreserved, escaped and user-unreserved).
	userPart = regexp.MustCompile(`^(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+$`)
	// hostName is a domain name. Underscores are not in RFC 3261, but in many names of hosts and containers.
	hostName = regexp.MustCompile(`^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?$`)
)

// checkAOR says what is wrong with an address-of-record.
func checkAOR(s string) error {
	rest, err := cutScheme(s)
	if err != nil {
		return err
	}
	user, host, ok := strings.Cut(rest, "@")
	name, _, hasPassword := strings.Cut(user, ":")
	switch {
	case !ok || user == "":
		return fmt.Errorf("expected sip:USER@DOMAIN, found %q", s)
	case hasPassword:
		return fmt.Errorf("sip:%s:...@ has a password in it: write it into auth_pass", name)
	case !userPart.MatchString(user):
		return fmt.Errorf("%q cannot be the user of a SIP URI; write other characters as %%XX", user)
	case strings.ContainsAny(host, ";?"):
		host, params, _ := strings.Cut(host, ";")
		return fmt.Errorf(`%q does not belong to the AOR; a transport is set by registrar: "sip:%s;transport=tcp"`, ";"+params, host)
	}
	return checkHostPort(host)
}

// canonicalAOR makes AORs comparable: the host has no case (RFC 3261 section 19.1.4).
func canonicalAOR(aor string) string {
	user, host, _ := strings.Cut(strings.TrimPrefix(aor, "sip:"), "@")
	return user + "@" + strings.ToLower(host)
}

// server reads the URI of a registrar or proxy; without a scheme it is a host.
func (c *checker) server(text yamlpos.At[string], key string) string {
	uri := text.Value
	if !strings.Contains(uri, ":") || !strings.HasPrefix(strings.ToLower(uri), "sip") {
		uri = "sip:" + uri
	}
	err := checkServer(uri)
	if err == nil {
		err = ua.ParseURI(uri)
	}
	if err != nil {
		c.bad(text.Pos, key, "%v", err)
	}
	return uri
}

// checkServer says what is wrong with the URI of a registrar or proxy.
func checkServer(s string) error {
	rest, err := cutScheme(s)
	if err != nil {
		return err
	}
	if strings.Contains(rest, "@") {
		return fmt.Errorf("%q names a user: expected a server such as sip:example.com", s)
	}
	host, params, _ := strings.Cut(rest, ";")
	if err := checkHostPort(host); err != nil {
		return err
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.ToLower(param), "=")
		switch {
		case name == "" || name == "lr":
		case name != "transport":
			return fmt.Errorf("unknown URI parameter %q: expected ;transport=udp or ;transport=tcp", name)
		case value == "tls", value == "ws", value == "wss":
			return fmt.Errorf("the transport %s is not yet supported: expected udp or tcp", value)
		case value != "udp" && value != "tcp":
			return fmt.Errorf("unknown transport %q: expected udp or tcp", value)
		}
	}
	return nil
}

// cutScheme takes "sip:" off.
func cutScheme(s string) (string, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case ok && strings.EqualFold(scheme, "sip"):
		return rest, nil
	case ok && strings.EqualFold(scheme, "sips"):
		return "", errors.New("the scheme sips is not yet supported, it needs TLS: expected sip")
	default:
		return "", fmt.Errorf("expected a SIP URI such as sip:alice@example.com, found %q", s)
	}
}

// checkHostPort checks HOST or HOST:PORT.
func checkHostPort(s string) error {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		port := s[i+1:]
		host = s[:i]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is not a port: expected 1 to 65535", port)
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err != nil || !a.Is6() || a.Zone() != "" {
			return fmt.Errorf("%q is not an IPv6 address in brackets", host)
		}
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		return fmt.Errorf("an IPv6 address needs brackets: [%s]", a)
	}
	if !hostName.MatchString(host) {
		return fmt.Errorf("%q is not a domain name or IP address", host)
	}
	return nil
}
