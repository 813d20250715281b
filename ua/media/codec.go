package media

import (
	"strings"

	"github.com/gosipua/gosipua/ua/sdp"
)

// codec turns audio into payloads and back. One value serves one stream, so it may have state.
type codec interface {
	// encode appends the payload for pcm to dst.
	encode(dst []byte, pcm []int16) []byte
	// decode appends the audio of payload to dst.
	decode(dst []int16, payload []byte) []int16
	// duration is how long payload lasts, in units of the RTP clock.
	duration(payload []byte) int
}

// format is what is known of a payload format before any packet of it.
type format struct {
	name    string
	clock   int     // of RTP timestamps, Hz
	rate    int     // of the audio, Hz; not the clock's with G.722
	pt      uint8   // what we offer
	ie, bpl float64 // E-model: equipment impairment and robustness against loss (ITU-T G.113 appendix I)
	fresh   func(fmtp string) codec
}

// formats lists the audio formats this build can serve, in order of preference.
func formats() []format {
	ulaw := func(string) codec { return g711{ulawEncode, ulawDecode} }
	alaw := func(string) codec { return g711{alawEncode, alawDecode} }
	return []format{
		{name: "PCMU", clock: 8000, rate: 8000, pt: 0, bpl: 25.1, fresh: ulaw},
		{name: "PCMA", clock: 8000, rate: 8000, pt: 8, bpl: 25.1, fresh: alaw},
	}
}

// formatOf finds the format that serves c.
func formatOf(c sdp.Codec) (format, bool) {
	for _, f := range formats() {
		if strings.EqualFold(f.name, c.Name) && f.clock == c.Clock {
			return f, true
		}
	}
	return format{}, false
}

// offered is what goes into an offer.
func offered() []sdp.Codec {
	var list []sdp.Codec
	for _, f := range formats() {
		list = append(list, sdp.Codec{PT: f.pt, Name: f.name, Clock: f.clock})
	}
	return append(list, sdp.Codec{PT: 101, Name: "telephone-event", Clock: 8000, Fmtp: "0-15"})
}

// g711 is PCMU or PCMA: one byte a sample, no state.
type g711 struct {
	enc func(int16) byte
	dec func(byte) int16
}

func (g g711) encode(dst []byte, pcm []int16) []byte {
	for _, s := range pcm {
		dst = append(dst, g.enc(s))
	}
	return dst
}

func (g g711) decode(dst []int16, payload []byte) []int16 {
	for _, b := range payload {
		dst = append(dst, g.dec(b))
	}
	return dst
}

func (g711) duration(payload []byte) int { return len(payload) }
