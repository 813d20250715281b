package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ua"
)

// quality is the result of a call; its JSON names are for other programs. It says the same as the text.
type quality struct {
	URI           string   `json:"uri"`
	Account       string   `json:"account"`
	Answered      bool     `json:"answered"`
	Code          int      `json:"code,omitempty"` // of the final response that refused it
	Error         string   `json:"error,omitempty"`
	EndedBy       string   `json:"ended_by"`         // local or remote
	Reason        string   `json:"reason"`           // why it ended
	AnsweredAfter float64  `json:"answered_after_s"` // seconds
	Duration      float64  `json:"duration_s"`       // seconds, from the answer
	Codec         string   `json:"codec"`
	Local         string   `json:"local"`
	Remote        string   `json:"remote"`
	Sent          uint64   `json:"tx_packets"`
	Received      uint64   `json:"rx_packets"`
	Lost          int64    `json:"lost"`
	Loss          float64  `json:"loss"` // 0 to 1
	Late          uint64   `json:"late"`
	Duplicate     uint64   `json:"duplicate"`
	Reordered     uint64   `json:"reordered"`
	Jitter        float64  `json:"jitter_ms"`
	RoundTrip     *float64 `json:"rtt_ms"`     // null: unknown
	Level         *float64 `json:"level_dbfs"` // null: silence
	MOS           *float64 `json:"mos"`        // null: unknown
}

// report prints how the call was.
func (c *call) report(made *ua.Call, err error) error {
	q := c.quality(made, err)
	if c.json {
		enc := json.NewEncoder(c.program.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(q)
	}
	if q.Answered {
		c.progress("ended after %s: %s", seconds(time.Duration(q.Duration*float64(time.Second))), c.reason)
		c.progress("%s", q)
	}
	return nil
}

// silence is the level in dBFS that 16-bit samples cannot fall below.
const silence = -96

// quality collects the result of a call that has ended.
func (c *call) quality(made *ua.Call, err error) quality {
	s := made.Stats()
	q := quality{
		URI: made.Peer(), Account: made.Account(), Answered: !c.answered.IsZero(), EndedBy: "remote", Reason: c.reason,
		Codec: s.Codec, Sent: s.TxPackets, Received: s.RxPackets, Lost: s.Lost, Late: s.Late, Duplicate: s.Duplicate, Reordered: s.Reordered,
		Jitter: round(s.Jitter.Seconds()*1000, 2), MOS: finite(s.MOS, s.MOS > 0), Level: finite(s.RxLevel, s.RxLevel > silence),
		RoundTrip: finite(s.RTT.Seconds()*1000, s.RTT > 0),
	}
	if c.local {
		q.EndedBy = "local"
	}
	q.Local, q.Remote = endpoint(s.Local), endpoint(s.Remote)
	if s.Expected > 0 {
		q.Loss = round(float64(max(s.Lost, 0))/float64(s.Expected), 4)
	}
	if q.Answered {
		q.AnsweredAfter, q.Duration = round(c.answered.Sub(c.begun).Seconds(), 3), round(time.Since(c.answered).Seconds(), 3)
	}
	if err != nil {
		q.Error = err.Error()
	}
	if refused := (*ua.StatusError)(nil); errors.As(err, &refused) {
		q.Code = refused.Code
	}
	return q
}

// endpoint writes an address and port; "" if there is none.
func endpoint(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// String is the quality in two lines.
func (q quality) String() string {
	return fmt.Sprintf("audio: %s from %s to %s\nquality: sent %d packets, received %d, lost %d (%.1f %%), late %d, jitter %.1f ms, round trip %s, level %s, MOS %s",
		q.Codec, q.Local, q.Remote, q.Sent, q.Received, q.Lost, 100*q.Loss, q.Late, q.Jitter, unit(q.RoundTrip, "ms"), levelText(q.Level), unit(q.MOS, ""))
}

// unit writes a number that may be unknown.
func unit(x *float64, name string) string {
	if x == nil {
		return "unknown"
	}
	if name == "" {
		return fmt.Sprintf("%.1f", *x)
	}
	return fmt.Sprintf("%.1f %s", *x, name)
}

// levelText writes how loud it was.
func levelText(dbfs *float64) string {
	if dbfs == nil {
		return "silence"
	}
	return unit(dbfs, "dBFS")
}

// finite leaves out what JSON cannot say.
func finite(x float64, known bool) *float64 {
	if !known || math.IsInf(x, 0) || math.IsNaN(x) {
		return nil
	}
	x = round(x, 2)
	return &x
}

func round(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
