package sdp_test

import (
	"fmt"
	"net/netip"

	"github.com/gosipua/gosipua/ua/sdp"
)

// Alice offers A-law and mu-law, Bob takes A-law only and puts the call on hold.
func Example() {
	pcmu := sdp.Codec{PT: 0, Name: "PCMU", Clock: 8000}
	pcma := sdp.Codec{PT: 8, Name: "PCMA", Clock: 8000}
	alice := sdp.Local{SessionID: 1, Addr: netip.MustParseAddr("192.0.2.1"), Port: 4000, Codecs: []sdp.Codec{pcmu, pcma}}
	bob := sdp.Local{SessionID: 2, Addr: netip.MustParseAddr("192.0.2.2"), Port: 5000, Codecs: []sdp.Codec{pcma}, Direction: sdp.SendOnly}

	offer := sdp.Offer(alice)
	received, err := sdp.Parse(offer.Marshal())
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, atBob, err := sdp.Answer(received, bob)
	if err != nil {
		fmt.Println(err)
		return
	}
	atAlice, err := sdp.Accept(offer, answer)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Bob:  ", atBob.Direction, atBob.Send.Name, "to", atBob.Remote)
	fmt.Println("Alice:", atAlice.Direction, "from", atAlice.Remote)
	// Output:
	// Bob:   sendonly PCMA to 192.0.2.1:4000
	// Alice: recvonly from 192.0.2.2:5000
}
