package transaction

import (
	"errors"
	"fmt"
	"net"
)

var (
	// ErrTimeout ends a client transaction that nobody answered in 64*T1
	// (timers B and F), or whose INVITE got no final response in 64*T1 after its
	// CANCEL (RFC 3261 section 9.1). It ends a server transaction whose final
	// response to an INVITE was never acknowledged (timer H), or that was not
	// answered while its client waited (RFC 4320 section 4.2).
	ErrTimeout = errors.New("transaction: timeout")

	// ErrFlowDown ends the transactions of a flow that is gone. What ends them
	// wraps the flow's own error as well.
	ErrFlowDown = errors.New("transaction: flow is down")

	// ErrClosed is returned once Layer.Run has ended, and ends the transactions
	// that were alive then. It wraps net.ErrClosed.
	ErrClosed = fmt.Errorf("transaction: layer is closed: %w", net.ErrClosed)

	// ErrTerminated is returned by Server.Respond when the transaction is over,
	// or has had its final response already.
	ErrTerminated = errors.New("transaction: final response already sent, or transaction over")
)

var (
	errACK      = errors.New("transaction: an ACK is not answered")
	errOffQueue = errors.New("transaction: Respond must be called on the queue of the Call-ID, see Layer.Do")
	errCanceled = fmt.Errorf("no final response after CANCEL: %w", ErrTimeout)
)

// flowDown is the error of a transaction whose flow ended.
func flowDown(f flow) error {
	if err := f.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrFlowDown, err)
	}
	return ErrFlowDown
}
