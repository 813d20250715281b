package registrar

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

const (
	defaultExpires = time.Hour
	// nonceLife is how long a nonce is good. One that is older is answered with stale=true, and the client tries again by itself.
	nonceLife = 5 * time.Minute
)

// binding is where a user can be reached.
type binding struct {
	contact sip.Uri
	callID  string
	cseq    uint32
	until   time.Time
}

// register answers a REGISTER (RFC 3261 section 10.3).
func (s *Server) register(req *sip.Request, now time.Time) *sip.Response {
	user := req.To().Address.User
	if ok, stale := s.authorized(req, user, now); !ok {
		return s.challenge(req, stale, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(s.bindings[user], func(b binding) bool { return !b.until.After(now) })
	if list, ok := update(list, req, now); ok {
		s.bindings[user] = list
		return accepted(req, list, now)
	}
	return status(req, sip.StatusBadRequest, "Bad Contact")
}

// update applies the contacts of a REGISTER; ok is false if they make no sense.
func update(list []binding, req *sip.Request, now time.Time) (_ []binding, ok bool) {
	for _, h := range req.GetHeaders("Contact") {
		c, isContact := h.(*sip.ContactHeader)
		if !isContact {
			return nil, false
		}
		life := expires(req, c)
		if c.Address.Wildcard {
			if life != 0 {
				return nil, false
			}
			list = nil
			continue
		}
		i := slices.IndexFunc(list, func(b binding) bool { return b.contact.String() == c.Address.String() })
		fresh := binding{*c.Address.Clone(), req.CallID().Value(), req.CSeq().SeqNo, now.Add(life)}
		switch {
		case i >= 0 && list[i].callID == fresh.callID && list[i].cseq >= fresh.cseq:
			continue // older than what is known (section 10.3 step 7)
		case i >= 0:
			list = slices.Delete(list, i, i+1)
		}
		if life > 0 {
			list = append(list, fresh)
		}
	}
	return list, true
}

// expires is how long a contact should last: by its parameter, the header, or the default.
func expires(req *sip.Request, c *sip.ContactHeader) time.Duration {
	text, ok := c.Params.Get("expires")
	if h := req.GetHeader("Expires"); !ok && h != nil {
		text = h.Value()
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return defaultExpires
	}
	return min(time.Duration(seconds)*time.Second, defaultExpires)
}

// accepted lists the contacts that are left.
func accepted(req *sip.Request, list []binding, now time.Time) *sip.Response {
	res := status(req, sip.StatusOK, "OK")
	for _, b := range list {
		left := strconv.Itoa(int(b.until.Sub(now).Round(time.Second) / time.Second))
		res.AppendHeader(&sip.ContactHeader{Address: b.contact, Params: sip.HeaderParams{{K: "expires", V: left}}})
	}
	return res
}

// lookup gives the newest contact of a user.
func (s *Server) lookup(user string, now time.Time) (sip.Uri, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range slices.Backward(s.bindings[user]) {
		if b.until.After(now) {
			return b.contact, true
		}
	}
	return sip.Uri{}, false
}

// challenge asks for credentials, for SHA-256 first (RFC 8760 section 2.3) and MD5 for those who know nothing better.
func (s *Server) challenge(req *sip.Request, stale bool, now time.Time) *sip.Response {
	res := status(req, sip.StatusUnauthorized, "Unauthorized")
	for _, algorithm := range []string{"SHA-256", "MD5"} {
		c := digest.Challenge{Realm: s.cfg.Realm, Nonce: s.nonce(now), Algorithm: algorithm, QOP: []string{"auth"}, Stale: stale}
		res.AppendHeader(sip.NewHeader("WWW-Authenticate", c.String()))
	}
	return res
}

// authorized checks the credentials of a request; stale means that they would be good with a newer nonce.
func (s *Server) authorized(req *sip.Request, user string, now time.Time) (ok, stale bool) {
	pass, known := s.cfg.Users[user]
	for _, h := range req.GetHeaders("Authorization") {
		c, err := digest.ParseCredentials(h.Value())
		if err != nil || !known || c.Realm != s.cfg.Realm || c.Username != user || c.URI != req.Recipient.String() || c.QOP != "auth" {
			continue
		}
		want, err := digest.Digest(
			&digest.Challenge{Realm: c.Realm, Nonce: c.Nonce, Algorithm: c.Algorithm, QOP: []string{"auth"}},
			digest.Options{Method: req.Method.String(), URI: c.URI, Count: c.Nc, Username: user, Password: pass, Cnonce: c.Cnonce},
		)
		if err != nil || subtle.ConstantTimeCompare([]byte(want.Response), []byte(c.Response)) == 0 {
			continue
		}
		genuine, fresh := s.checkNonce(c.Nonce, now)
		return genuine && fresh, genuine && !fresh
	}
	return false, false
}

// nonce is a time and a proof that it was given out here; nothing has to be remembered.
func (s *Server) nonce(now time.Time) string {
	stamp := strconv.FormatInt(now.Unix(), 16)
	return stamp + "." + s.proof(stamp)
}

func (s *Server) proof(stamp string) string {
	mac := hmac.New(sha256.New, s.secret[:])
	fmt.Fprint(mac, stamp)
	return hex.EncodeToString(mac.Sum(nil)[:12])
}

func (s *Server) checkNonce(nonce string, now time.Time) (genuine, fresh bool) {
	stamp, proof, _ := strings.Cut(nonce, ".")
	if !hmac.Equal([]byte(proof), []byte(s.proof(stamp))) {
		return false, false
	}
	seconds, err := strconv.ParseInt(stamp, 16, 64)
	return err == nil, err == nil && now.Sub(time.Unix(seconds, 0)) < nonceLife
}
