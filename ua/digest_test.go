package ua

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

func challengeWith(code int, header string, values ...string) *sip.Response {
	res := sip.NewResponse(code, "Unauthorized")
	for _, v := range values {
		res.AppendHeader(sip.NewHeader(header, v))
	}
	return res
}

func authorized(t *testing.T, c *credentials, header string) *digest.Credentials {
	t.Helper()
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: "example.com", UriParams: sip.HeaderParams{{K: "transport", V: "tcp"}}})
	req.SetBody([]byte("body"))
	if err := c.authorize(req); err != nil {
		t.Fatal(err)
	}
	h := req.GetHeader(header)
	if h == nil {
		t.Fatalf("no %s", header)
	}
	cred, err := digest.ParseCredentials(h.Value())
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

// hex64 is H() of RFC 7616, written once more so that the test does not ask the code under test.
func hexOf(h hash.Hash, parts ...string) string {
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}

func TestDigestAnswers(t *testing.T) {
	const uri = "sip:example.com;transport=tcp" // the Request-URI whole: parameters belong to it
	for _, tc := range []struct {
		name, challenge string
		hash            func() hash.Hash
		sess            bool
		qop             string
	}{
		{"MD5 without qop (RFC 2069)", `Digest realm="r", nonce="n"`, md5.New, false, ""},
		{"MD5", `Digest realm="r", nonce="n", algorithm=MD5, qop="auth"`, md5.New, false, "auth"},
		{"SHA-256", `Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"`, sha256.New, false, "auth"},
		{"a choice of qop with a blank", `Digest realm="r", nonce="n", qop="auth-int, auth"`, md5.New, false, "auth"},
		{"auth-int hashes the body", `Digest realm="r", nonce="n", qop="auth-int"`, md5.New, false, "auth-int"},
		{"MD5-sess", `Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth"`, md5.New, true, "auth"},
		{"SHA-256-sess", `Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth"`, sha256.New, true, "auth"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &credentials{user: "alice", pass: "secret"}
			if err := c.challenged(challengeWith(401, "WWW-Authenticate", tc.challenge)); err != nil {
				t.Fatal(err)
			}
			for use := 1; use <= 2; use++ { // a nonce is used again, and counted
				cred := authorized(t, c, "Authorization")
				a1 := hexOf(tc.hash(), "alice", "r", "secret")
				if tc.sess {
					a1 = hexOf(tc.hash(), a1, "n", cred.Cnonce)
				}
				a2 := hexOf(tc.hash(), "REGISTER", uri)
				if tc.qop == "auth-int" {
					a2 = hexOf(tc.hash(), "REGISTER", uri, hexOf(tc.hash(), "body"))
				}
				want := hexOf(tc.hash(), a1, "n", a2)
				if tc.qop != "" {
					want = hexOf(tc.hash(), a1, "n", fmt.Sprintf("%08x", use), cred.Cnonce, tc.qop, a2)
				}
				if cred.Response != want || cred.QOP != tc.qop || cred.URI != uri || cred.Username != "alice" {
					t.Errorf("use %d: %+v, want response %s", use, cred, want)
				}
				if tc.sess && !strings.HasSuffix(cred.Algorithm, "-sess") {
					t.Errorf("algorithm %q is not what the peer named", cred.Algorithm)
				}
			}
		})
	}
}

func TestDigestTakesTheFirstChallengeItKnows(t *testing.T) {
	c := &credentials{user: "alice", pass: "secret"}
	err := c.challenged(challengeWith(407, "Proxy-Authenticate",
		`Basic realm="r"`, `Digest realm="r", nonce="a", algorithm=AKAv1-MD5, qop="auth"`,
		`Digest realm="r", nonce="b", algorithm=SHA-256, qop="auth"`, `Digest realm="r", nonce="c", algorithm=MD5, qop="auth"`,
		`Digest realm="other", nonce="d"`))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.known) != 2 || c.known[0].Nonce != "b" || c.known[1].Nonce != "d" {
		t.Errorf("took %+v, want the SHA-256 of realm r and the one of realm other", c.known)
	}
	if cred := authorized(t, c, "Proxy-Authorization"); cred.Nonce != "b" {
		t.Errorf("answered nonce %s", cred.Nonce)
	}
}

func TestDigestGivesUpWithTheReason(t *testing.T) {
	plain := `Digest realm="r", nonce="n1"`
	t.Run("no password", func(t *testing.T) {
		c := &credentials{user: "alice"}
		if err := c.challenged(challengeWith(401, "WWW-Authenticate", plain)); !errors.Is(err, ErrNoCredentials) {
			t.Error(err)
		}
	})
	t.Run("nothing that is known", func(t *testing.T) {
		c := &credentials{user: "alice", pass: "x"}
		for _, values := range [][]string{nil, {`Basic realm="r"`}, {`Digest realm="r", nonce="n", algorithm=NEW`}, {"Digest"}, {`Digest realm="r", nonce="n", algorithm=MD5-sess`}} {
			if err := c.challenged(challengeWith(401, "WWW-Authenticate", values...)); !errors.Is(err, ErrChallenge) {
				t.Errorf("%q: %v", values, err)
			}
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		c := &credentials{user: "alice", pass: "x"}
		if err := c.challenged(challengeWith(401, "WWW-Authenticate", plain)); err != nil {
			t.Fatal(err)
		}
		authorized(t, c, "Authorization")
		if err := c.challenged(challengeWith(401, "WWW-Authenticate", `Digest realm="r", nonce="n2"`)); !errors.Is(err, ErrCredentials) {
			t.Errorf("a fresh nonce was refused: %v", err)
		}
	})
	t.Run("a nonce that has run out is no wrong password", func(t *testing.T) {
		c := &credentials{user: "alice", pass: "x"}
		for _, step := range []string{plain, `Digest realm="r", nonce="n2", stale=true`} {
			if err := c.challenged(challengeWith(401, "WWW-Authenticate", step)); err != nil {
				t.Fatal(err)
			}
			authorized(t, c, "Authorization")
		}
		authorized(t, c, "Authorization") // n2 for the second time
		if err := c.challenged(challengeWith(401, "WWW-Authenticate", `Digest realm="r", nonce="n3"`)); err != nil {
			t.Errorf("a used nonce was refused without stale: %v", err)
		}
	})
}
