// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"encoding/binary"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// prefixLen is the length of what gRPC puts before a message: a flag that says
	// whether it is compressed, and its length in four bytes.
	prefixLen = 5
	// maxMessage is the largest message that is taken, in bytes. Requests are small;
	// those of an Envoy that resumes name every resource that it has.
	maxMessage = 256 << 20
	// firstRoom is what is made ready for a message of which only a part has come:
	// its length is only a claim.
	firstRoom = 64 << 10
	// spareRoom is for a field that the receiver may put behind a message.
	spareRoom = 24
)

// assembly puts the messages of a stream together from the pieces in which they
// come.
type assembly struct {
	prefix  [prefixLen]byte
	have    int    // bytes of the prefix
	message []byte // what there is of the message
	want    int    // its length
}

// take calls receive for each message that data completes.
func (a *assembly) take(data []byte, receive Receive) error {
	for len(data) > 0 {
		if a.have < prefixLen {
			n := copy(a.prefix[a.have:], data)
			a.have += n
			data = data[n:]
			if a.have < prefixLen {
				return nil
			}
			if err := a.begin(len(data)); err != nil {
				return err
			}
		}
		n := min(len(data), a.want-len(a.message))
		a.message = append(a.message, data[:n]...)
		data = data[n:]
		if len(a.message) < a.want {
			return nil
		}
		message := a.message
		a.have, a.message = 0, nil
		if err := receive(message); err != nil {
			return err
		}
	}
	return nil
}

// begin reads the prefix. At hand is how much has come after it.
func (a *assembly) begin(atHand int) error {
	length := binary.BigEndian.Uint32(a.prefix[1:])
	switch {
	case a.prefix[0] != 0:
		return status.Error(codes.Unimplemented, "compressed messages are not taken")
	case length > maxMessage:
		return status.Errorf(codes.ResourceExhausted, "a message of %d bytes is larger than %d", length, maxMessage)
	}
	a.want = int(length)
	a.message = make([]byte, 0, min(a.want, max(atHand, firstRoom))+spareRoom)
	return nil
}

// between tells whether the stream is between two messages, where it may end.
func (a *assembly) between() bool { return a.have == 0 }
