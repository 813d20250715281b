package transaction

// An event is one input of a state machine of RFC 3261 section 17.
type event uint8

const (
	timerResend event = iota // timers A, E, G, and the one of the automatic 100
	timerEnd                 // timers B, D, F, H, I, K, L and M

	// A response: received by a client transaction, handed down by the
	// transaction user to a server transaction.
	provisional // 1xx
	success     // 2xx
	failure     // 3xx to 6xx

	retransmission // the request again (server)
	acknowledged   // an ACK that belongs to the INVITE (server)
)

// responseEvent says what kind of response status is.
func responseEvent(status int) event {
	switch {
	case status < 200:
		return provisional
	case status < 300:
		return success
	}
	return failure
}
