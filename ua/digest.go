package ua

import (
	"bytes"
	"crypto/md5" // MD5-sess is what RFC 7616 calls for when the peer asks for it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

var (
	// ErrNoCredentials says that the peer asked for a password and the account has none.
	ErrNoCredentials = errors.New("the peer asks for credentials and the account has no auth_pass")
	// ErrCredentials says that the peer did not accept user and password.
	ErrCredentials = errors.New("the peer did not accept auth_user and auth_pass")
	// ErrChallenge says that the peer offers no algorithm that we know (MD5, SHA-256, SHA-512, SHA-512-256, each also -sess where defined).
	ErrChallenge = errors.New("no supported digest challenge")
)

// credentials answers the challenges of one registration or call (RFC 3261 section 22, RFC 7616, RFC 8760), and goes on using
// a nonce as long as it is accepted, so that a re-INVITE after a change of address needs no second round trip.
// It belongs to one Call-ID queue.
type credentials struct {
	user, pass string
	known      []*challenge // at most one per header and realm
}

// challenge is one nonce and how often it has been used.
type challenge struct {
	digest.Challenge
	header string // the answer's: Authorization or Proxy-Authorization
	sess   string // "MD5" or "SHA-256" when the algorithm was that with -sess
	count  int
}

// authorize adds an answer to every challenge known so far.
func (c *credentials) authorize(req *sip.Request) error {
	for req.RemoveHeader("Authorization") || req.RemoveHeader("Proxy-Authorization") {
		continue // of an earlier attempt
	}
	for _, ch := range c.known {
		value, err := c.answer(ch, req)
		if err != nil {
			return err
		}
		req.AppendHeader(sip.NewHeader(ch.header, value))
	}
	return nil
}

func (c *credentials) answer(ch *challenge, req *sip.Request) (string, error) {
	ch.count++
	opts := digest.Options{
		Method: req.Method.String(), URI: req.Recipient.String(), Count: ch.count, Username: c.user, Password: c.pass,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body())), nil },
	}
	if ch.sess == "" {
		cred, err := digest.Digest(&ch.Challenge, opts)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrChallenge, err)
		}
		return cred.String(), nil
	}
	// The library has no -sess: it is given A1, which then covers nonce and cnonce (RFC 7616 section 3.4.2).
	opts.Cnonce = randomHex(8)
	plain := ch.Challenge
	plain.Algorithm = ch.sess
	opts.A1 = sessionA1(ch.sess, c.user, ch.Realm, c.pass, ch.Nonce, opts.Cnonce)
	cred, err := digest.Digest(&plain, opts)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrChallenge, err)
	}
	cred.Algorithm = ch.Algorithm
	return cred.String(), nil
}

func sessionA1(algorithm, user, realm, pass, nonce, cnonce string) string {
	h := sha256.New()
	if algorithm == "MD5" {
		h = md5.New()
	}
	return hashOf(h, hashOf(h, user+":"+realm+":"+pass)+":"+nonce+":"+cnonce)
}

func hashOf(h hash.Hash, s string) string {
	h.Reset()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}

// isChallenge says whether a response asks for credentials.
func isChallenge(res *sip.Response) bool {
	return res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired
}

// challenged takes the challenges of a 401 or 407 and says whether to try again: nil, or the reason why that is useless.
func (c *credentials) challenged(res *sip.Response) error {
	if c.pass == "" {
		return ErrNoCredentials
	}
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	taken := make(map[string]bool) // realms
	for _, h := range res.GetHeaders(ask) {
		ch, err := parseChallenge(h.Value())
		if err != nil || taken[ch.Realm] {
			continue // of several for one realm, the first that is understood (RFC 8760 section 2.4)
		}
		ch.header = answer
		if err := c.take(ch); err != nil {
			return err
		}
		taken[ch.Realm] = true
	}
	if len(taken) == 0 {
		return fmt.Errorf("%w in %s", ErrChallenge, ask)
	}
	return nil
}

func (c *credentials) take(ch *challenge) error {
	for i, old := range c.known {
		if old.header != ch.header || old.Realm != ch.Realm {
			continue
		}
		// A nonce used before may have run out, whether or not the peer says stale; a fresh one refused means a wrong password.
		if !ch.Stale && old.count == 1 {
			c.known = append(c.known[:i], c.known[i+1:]...)
			return fmt.Errorf("%w (realm %q)", ErrCredentials, ch.Realm)
		}
		c.known[i] = ch
		return nil
	}
	c.known = append(c.known, ch)
	return nil
}

func parseChallenge(value string) (*challenge, error) {
	parsed, err := digest.ParseChallenge(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChallenge, err)
	}
	ch := &challenge{Challenge: *parsed}
	for i, q := range ch.QOP { // "auth, auth-int" is split at the comma only
		ch.QOP[i] = strings.TrimSpace(q)
	}
	plain := ch.Challenge
	if base, ok := strings.CutSuffix(strings.ToUpper(ch.Algorithm), "-SESS"); ok && (base == "MD5" || base == "SHA-256") {
		ch.sess, plain.Algorithm = base, base
		if len(ch.QOP) == 0 {
			return nil, fmt.Errorf("%w: %s without qop", ErrChallenge, ch.Algorithm)
		}
	}
	if !digest.CanDigest(&plain) {
		return nil, fmt.Errorf("%w: algorithm %q, qop %q", ErrChallenge, ch.Algorithm, strings.Join(ch.QOP, ","))
	}
	return ch, nil
}
