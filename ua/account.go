package ua

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// AnswerPolicy says what an Account does with an incoming call.
type AnswerPolicy uint8

// The zero value waits for the application.
const (
	AnswerManual AnswerPolicy = iota // 180 Ringing, then the application decides (Call.Answer, Call.Hangup)
	AnswerAuto                       // 200 at once; plays Config.Source
	AnswerBusy                       // 486 Busy Here
	AnswerEcho                       // 200 at once; what is heard is sent back
)

// ParseAnswer reads the words of the configuration: manual, auto, busy, echo.
func ParseAnswer(s string) (AnswerPolicy, error) {
	for _, a := range []AnswerPolicy{AnswerManual, AnswerAuto, AnswerBusy, AnswerEcho} {
		if a.String() == s {
			return a, nil
		}
	}
	return 0, fmt.Errorf("answer %q is none of manual, auto, busy, echo", s)
}

func (a AnswerPolicy) String() string {
	switch a {
	case AnswerAuto:
		return "auto"
	case AnswerBusy:
		return "busy"
	case AnswerEcho:
		return "echo"
	default:
		return "manual"
	}
}

// Account is one identity of the Agent: an address of record (RFC 3261 section 6) and how to use it.
type Account struct {
	AOR      string // "sip:alice@example.com"; required
	Display  string // display name in From; "" = none
	Register bool   // keep a binding at the registrar; false: peer to peer

	// Registrar is the URI that REGISTER is sent to, with or without "sip:"; it may carry ;transport=tcp. "" = the AOR's domain.
	Registrar string
	AuthUser  string        // digest user; "" = the AOR's user part
	AuthPass  string        // never logged
	Expires   time.Duration // asked for; 0 = 3600 s. The registrar's answer decides
	Outbound  []string      // proxies, as preloaded Route (RFC 3261 section 8.1.2), tried in order
	MaxCalls  int           // more are answered 486; 0 = 4, negative = no limit
	Answer    AnswerPolicy
}

const (
	defaultExpires  = 3600 * time.Second
	defaultMaxCalls = 4
)

// ParseAOR checks an address of record: a sip: or sips: URI with user and host, without parameters or headers, since it is
// a key and not a route (RFC 3261 section 10.3).
func ParseAOR(s string) error {
	_, err := parseAOR(s)
	return err
}

func parseAOR(s string) (sip.Uri, error) {
	u, err := parseURI(s)
	switch {
	case err != nil:
		return u, err
	case u.User == "":
		return u, fmt.Errorf("address of record %q has no user: expected sip:USER@HOST", s)
	case len(u.UriParams) > 0 || len(u.Headers) > 0:
		return u, fmt.Errorf("address of record %q must not carry parameters: put ;transport= into registrar or outbound", s)
	case u.Password != "":
		return u, errors.New("address of record must not carry a password: use auth_pass")
	}
	return u, nil
}

// ParseURI checks a SIP URI that requests can be sent to; "sip:" may be left out.
func ParseURI(s string) error {
	_, err := parseTarget(s)
	return err
}

// parseTarget is parseURI with "sip:" supplied where the user left it out.
func parseTarget(s string) (sip.Uri, error) {
	if !hasScheme(s) {
		s = "sip:" + s
	}
	return parseURI(s)
}

// hasScheme tells "tel:+123" from "host:5060", which look alike.
func hasScheme(s string) bool {
	scheme, _, ok := strings.Cut(strings.ToLower(s), ":")
	return ok && slices.Contains([]string{"sip", "sips", "tel", "mailto", "http", "https", "im", "pres", "urn", "xmpp"}, scheme)
}

func parseURI(s string) (sip.Uri, error) {
	var u sip.Uri
	if strings.ContainsAny(s, " \t\r\n<>\"") {
		return u, fmt.Errorf("URI %q contains white space, quotes or brackets", s)
	}
	if err := sip.ParseUri(s, &u); err != nil {
		return u, fmt.Errorf("URI %q: %w", s, err)
	}
	switch {
	case u.Scheme != "sip" && u.Scheme != "sips":
		return u, fmt.Errorf("URI %q: scheme must be sip or sips", s)
	case u.Host == "":
		return u, fmt.Errorf("URI %q has no host", s)
	case u.Port < 0 || u.Port > 65535:
		return u, fmt.Errorf("URI %q: port out of range", s)
	}
	return u, nil
}
