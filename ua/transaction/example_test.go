package transaction_test

import (
	"context"
	"fmt"

	"github.com/emiago/sipgo/sip"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua/transaction"
)

// A server that answers every OPTIONS, and asks a peer one of its own.
func Example() {
	ctx := context.Background()
	layer := transaction.New(transaction.Config{OnRequest: func(s *transaction.Server) {
		switch s.Request().Method {
		case sip.ACK: // of a 2xx, and none was sent
		case sip.OPTIONS:
			_ = s.Respond(s.Response(200, "OK"))
		default:
			_ = s.Respond(s.Response(501, "Not Implemented"))
		}
	}})
	links := ifwatch.New(ifwatch.Config{})
	manager := transport.New(transport.Config{Links: links, Receive: layer.Receive})
	for _, run := range []func(context.Context) error{links.Run, manager.Run, layer.Run} {
		go func() { _ = run(ctx) }()
	}

	targets, err := manager.Resolve(ctx, transport.Query{Host: "sip.example.com"})
	if err != nil {
		return
	}
	flow, err := manager.Flow(ctx, targets[0])
	if err != nil {
		return
	}
	at := flow.Advertised().Addr().String()
	req := sip.NewRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: "sip.example.com"})
	req.AppendHeader(&sip.FromHeader{Address: sip.Uri{User: "test", Host: at}, Params: sip.HeaderParams{{K: "tag", V: "8f2c01"}}})
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Host: "sip.example.com"}})
	id := sip.CallIDHeader("5e1f20b7@" + at)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	_, _ = layer.Send(flow, req, func(res *sip.Response, err error) {
		if err != nil {
			fmt.Println("no answer:", err)
			return
		}
		fmt.Println(res.StatusCode, res.Reason)
	})
}
