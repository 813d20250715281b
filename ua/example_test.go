package ua_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

// A phone that answers every call to "echo" with an echo, on every usable address of this host, until it is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	links := ifwatch.New(ifwatch.Config{}) // what the kernel says about links and addresses
	go links.Run(ctx)
	phone, err := ua.New(ua.Config{
		Transport: transport.Config{Links: links}, // listens on udp:5060 and tcp:5060 of whatever is usable
		Accounts:  []ua.Account{{AOR: "sip:echo@localhost", Answer: ua.AnswerEcho}},
		Event:     func(e ua.Event) { fmt.Println(e.Time.Format("15:04:05"), e.Kind, e.Account) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(phone.Run(ctx))
}
