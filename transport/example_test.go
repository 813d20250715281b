package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
)

// A program that answers every request on every usable address, for as long as
// it runs, whatever happens to the addresses.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	links := ifwatch.New(ifwatch.Config{})
	m := transport.New(transport.Config{
		Links:   links,
		Receive: func(in transport.Message) { answer(ctx, in) },
		Event:   func(e transport.Event) { fmt.Println(e.Kind, e.Proto, e.Local, e.Why) },
	})
	go links.Run(ctx)
	fmt.Println(m.Run(ctx))
}

// answer sends a 200 whose headers are the ones of the request that RFC 3261
// section 8.2.6.2 wants in it; there is one header to a line, under its full name.
func answer(ctx context.Context, in transport.Message) {
	if in.Head.Status != 0 || in.Head.Method == "ACK" {
		return
	}
	response := []byte("SIP/2.0 200 OK\r\n")
	for line := range bytes.SplitSeq(in.Raw, []byte("\r\n")) {
		switch name, _, _ := bytes.Cut(line, []byte(":")); string(name) {
		case "Via", "From", "Call-ID", "CSeq":
			response = append(append(response, line...), "\r\n"...)
		case "To":
			response = append(append(response, line...), ";tag=example\r\n"...)
		}
	}
	response = append(response, "Content-Length: 0\r\n\r\n"...)
	if err := in.Flow.Respond(ctx, response); err != nil {
		fmt.Println(err)
	}
}

// A request goes to the first target that takes it, from the address that the
// kernel would choose, if it is one that may be used.
func ExampleManager_Flow() {
	send := func(ctx context.Context, m *transport.Manager, host string, request func(f *transport.Flow) []byte) error {
		targets, err := m.Resolve(ctx, transport.Query{Host: host})
		for _, t := range targets {
			var f *transport.Flow
			if f, err = m.Flow(ctx, t); err != nil {
				continue
			}
			// f.Advertised() is what belongs into Via and Contact.
			if err = f.Send(ctx, request(f)); err == nil {
				return nil
			}
		}
		return err
	}
	_ = send
}
