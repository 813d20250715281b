package media_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gosipua/gosipua/ua/media"
	"github.com/gosipua/gosipua/ua/sdp"
)

// A caller plays a tone to a phone that echoes it, over loopback. In a program the descriptions travel in SIP messages.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	engine := media.New(media.Config{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = engine.Run(ctx) // returns why ctx ended
	}()
	defer func() { cancel(); <-ended }()

	caller, err := openWith(engine, "ausine,440,-10")
	if err != nil {
		fmt.Println(err)
		return
	}
	phone, err := openWith(engine, "echo")
	if err != nil {
		fmt.Println(err)
		return
	}
	digits := make(chan rune)
	phone.OnDTMF(func(digit rune) { digits <- digit })

	offer := sdp.Offer(caller.Describe())
	answer, atPhone, err := sdp.Answer(offer, phone.Describe())
	if err != nil {
		fmt.Println(err)
		return
	}
	atCaller, err := sdp.Accept(offer, answer)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := phone.Start(atPhone); err != nil {
		fmt.Println(err)
		return
	}
	if err := caller.Start(atCaller); err != nil {
		fmt.Println(err)
		return
	}
	if err := caller.SendDTMF("5"); err != nil {
		fmt.Println(err)
		return
	}
	select {
	case digit := <-digits:
		fmt.Printf("the phone hears %c in %s\n", digit, phone.Stats().Codec)
	case <-time.After(30 * time.Second):
		fmt.Println("the phone hears nothing")
	}
	// Output: the phone hears 5 in PCMU
}

// openWith opens a stream that plays a source.
func openWith(engine *media.Engine, spec string) (*media.Stream, error) {
	stream, err := engine.Open(media.Local{Addr: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		return nil, err
	}
	source, err := media.ParseSource(spec, media.Options{})
	if err != nil {
		return nil, err
	}
	return stream, stream.SetSource(source)
}
