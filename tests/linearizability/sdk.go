// A client of the SDK port: gRPC by hand over one HTTP/2 connection, so that how a request failed is known.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

type sdk struct {
	address string
	// Of the open connection, nil without one.
	transport *http.Transport
	end       context.CancelFunc
}

type sdkAnswer struct {
	ResultCode int    `json:"resultCode"`
	ErrorCode  int    `json:"errorCode"`
	Message    string `json:"message"`
	Success    bool   `json:"success"`
}

// Largest message that is read.
const sdkMessageMax = 16 << 20

var errMessage = errors.New("not a message of the SDK port")

// Goes to another member with the next request.
func (s *sdk) move(address string) {
	s.close()
	s.address = address
}

func (s *sdk) close() {
	if s.transport != nil {
		s.end()
		s.transport.CloseIdleConnections()
		s.transport = nil
	}
}

// Opens the stream that makes this connection a registered client, and waits for its acknowledgement.
func (s *sdk) open(within time.Duration) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{DialContext: dialer.DialContext, Protocols: &protocols, DisableCompression: true}
	living, end := context.WithCancel(context.Background())
	late := time.AfterFunc(within, end)
	setup := map[string]any{"clientVersion": "linearizability", "abilityTable": map[string]bool{}, "labels": map[string]string{}}
	// The stream's other half stays open until the connection ends.
	sending, send := io.Pipe()
	go send.Write(frame("ConnectionSetupRequest", setup))
	response, err := s.post(living, transport, "/BiRequestStream/requestBiStream", sending)
	if err == nil {
		_, err = readMessage(response.Body)
	}
	if !late.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		end()
		transport.CloseIdleConnections()
		return err
	}
	go func() {
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}()
	s.transport, s.end = transport, end
	return nil
}

func (s *sdk) post(ctx context.Context, transport *http.Transport, path string, body io.Reader) (*http.Response, error) {
	// Not a kind of reader that HTTP could read again: what failed is never sent twice.
	request, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.address+path, io.NopCloser(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	return transport.RoundTrip(request)
}

// Sends a request and waits for its answer. The error is errRefused if certainly nothing was sent.
func (s *sdk) request(kind string, body any) (answered sdkAnswer, err error) {
	if s.transport == nil && s.open(requestTimeout) != nil {
		return answered, errRefused
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	ctx, end := context.WithTimeout(context.Background(), requestTimeout)
	defer end()
	response, err := s.post(ctx, s.transport, "/Request/request", bytes.NewReader(frame(kind, body)))
	if err != nil {
		return answered, err
	}
	defer response.Body.Close()
	text, err := readMessage(response.Body)
	if err != nil {
		return answered, err
	}
	return answered, json.Unmarshal(text, &answered)
}

// A field of a protobuf message that has a length.
func field(number int, value []byte) []byte {
	bytes := binary.AppendUvarint(nil, uint64(number)<<3|2)
	bytes = binary.AppendUvarint(bytes, uint64(len(value)))
	return append(bytes, value...)
}

// A `Payload` (`metadata` is field 2 with `type` as field 3, `body` is field 3 with `value` as field 2) in a frame of gRPC.
func frame(kind string, body any) []byte {
	text, _ := json.Marshal(body)
	payload := append(field(2, field(3, []byte(kind))), field(3, field(2, text))...)
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(payload))), payload...)
}

// The JSON of the next payload of a body.
func readMessage(body io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(body, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > sdkMessageMax {
		return nil, fmt.Errorf("%w: %d bytes", errMessage, size)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(body, payload); err != nil {
		return nil, err
	}
	inner, err := fieldOf(payload, 3)
	if err != nil {
		return nil, err
	}
	return fieldOf(inner, 2)
}

// The last field with this number; all fields have a length.
func fieldOf(message []byte, number uint64) (found []byte, err error) {
	for len(message) > 0 {
		tag, read := binary.Uvarint(message)
		if read <= 0 || tag&7 != 2 {
			return nil, errMessage
		}
		message = message[read:]
		size, read := binary.Uvarint(message)
		if read <= 0 || size > uint64(len(message)-read) {
			return nil, errMessage
		}
		if tag>>3 == number {
			found = message[read : read+int(size)]
		}
		message = message[read+int(size):]
	}
	return found, nil
}
