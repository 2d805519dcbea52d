// One keep-alive connection to one member. Which connection a read came by matters, and so does how a request failed,
// both of which general HTTP clients hide.
package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Longest wait for a connection to be accepted.
const dialTimeout = time.Second

// Nothing was sent.
var errRefused = errors.New("refused")

type conn struct {
	address string
	mutex   sync.Mutex
	// Nothing more is asked.
	over   bool
	open   net.Conn
	reader *bufio.Reader
	// Counts the connections that were opened: reads of equal numbers came by the same one.
	number int
}

func (c *conn) close() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.open != nil {
		c.open.Close()
		c.open = nil
	}
}

// Ends the request that is waiting, and all that follow; from any goroutine.
func (c *conn) interrupt() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.over = true
	if c.open != nil {
		c.open.SetDeadline(time.Now())
	}
}

// Goes to another member with the next request.
func (c *conn) move(address string) {
	c.close()
	c.address = address
}

type answer struct {
	status int
	header http.Header
	body   string
}

// Sends a request and waits for its whole answer. The error is errRefused if certainly nothing was sent.
func (c *conn) call(method, path string, query, form url.Values, header map[string]string, within time.Duration) (answer, error) {
	deadline := time.Now().Add(within)
	if c.open == nil {
		open, err := net.DialTimeout("tcp", c.address, min(dialTimeout, within))
		if err != nil {
			return answer{}, errRefused
		}
		c.mutex.Lock()
		c.open, c.reader = open, bufio.NewReader(open)
		c.mutex.Unlock()
		c.number++
	}
	c.mutex.Lock()
	if c.over {
		deadline = time.Now()
	}
	c.open.SetDeadline(deadline)
	c.mutex.Unlock()
	got, err := c.exchange(method, path, query, form, header)
	if err != nil {
		c.close()
	}
	return got, err
}

func (c *conn) exchange(method, path string, query, form url.Values, header map[string]string) (answer, error) {
	target := "http://" + c.address + path
	if query != nil {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequest(method, target, body)
	if err != nil {
		return answer{}, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	if err := request.Write(c.open); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(c.reader, request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	if response.Close {
		c.close()
	}
	return answer{response.StatusCode, response.Header, string(text)}, nil
}
