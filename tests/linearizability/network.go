// The network between the members: a proxy before each cluster port, whose traffic can be held in each direction, as a
// partition does. Who dials is found out by the owner of the dialing socket (Linux's /proc).
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Between two looks of a stalled connection.
const gatePoll = 5 * time.Millisecond

type network struct {
	members []*member
	mutex   sync.Mutex
	// cut[from][to]: nothing that `from` sends arrives at `to`.
	cut [members][members]bool
	// Connections while they are open, so that a heal can end those that a partition has broken.
	links map[*link]struct{}
	// Chunks that were held: proof that a partition was one.
	held atomic.Int64
}

type link struct {
	from, to int
	ends     [2]net.Conn
	stalled  atomic.Bool
}

func (l *link) close() {
	for _, end := range l.ends {
		if end != nil {
			end.Close()
		}
	}
}

func newNetwork(all []*member) (*network, error) {
	n := &network{members: all, links: map[*link]struct{}{}}
	for _, m := range all {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", m.port+proxyPort))
		if err != nil {
			return nil, err
		}
		go n.accept(listener, m)
	}
	return n, nil
}

func (n *network) accept(listener net.Listener, to *member) {
	for {
		dialed, err := listener.Accept()
		if err != nil {
			return
		}
		go n.serve(dialed, to)
	}
}

func (n *network) serve(dialed net.Conn, to *member) {
	from := n.owner(dialed.RemoteAddr().(*net.TCPAddr).Port)
	l := &link{from: from, to: to.at, ends: [2]net.Conn{dialed, nil}}
	defer l.close()
	if from < 0 {
		return // Its process is gone already.
	}
	n.mutex.Lock()
	n.links[l] = struct{}{}
	n.mutex.Unlock()
	defer func() {
		n.mutex.Lock()
		delete(n.links, l)
		n.mutex.Unlock()
	}()
	// A dial gets no answer through a cut in either direction.
	n.gate(l, from, to.at)
	n.gate(l, to.at, from)
	taken, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", to.port+clusterPort))
	if err != nil {
		return
	}
	n.mutex.Lock()
	l.ends[1] = taken
	n.mutex.Unlock()
	ended := make(chan struct{}, 2)
	go n.pump(l, dialed, taken, from, to.at, ended)
	go n.pump(l, taken, dialed, to.at, from, ended)
	<-ended
}

func (n *network) pump(l *link, source io.Reader, target io.Writer, from, to int, ended chan<- struct{}) {
	defer func() { ended <- struct{}{} }()
	buffer := make([]byte, 64*1024)
	for {
		size, err := source.Read(buffer)
		if size > 0 {
			n.gate(l, from, to)
			if _, err := target.Write(buffer[:size]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Waits while the way is cut.
func (n *network) gate(l *link, from, to int) {
	for first := true; n.isCut(from, to); first = false {
		if first {
			n.held.Add(1)
			l.stalled.Store(true)
		}
		time.Sleep(gatePoll)
	}
}

func (n *network) isCut(from, to int) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.cut[from][to]
}

func (n *network) set(from, to int, cut bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.cut[from][to] = cut
}

// Opens all ways. What was held arrives late, as after a retransmission, or its connections end.
func (n *network) heal(resume bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for l := range n.links {
		if l.stalled.Swap(false) && !resume {
			l.close()
		}
	}
	n.cut = [members][members]bool{}
}

// The member whose process owns the socket with this local port; -1 if none does.
func (n *network) owner(port int) int {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return -1
	}
	local := fmt.Sprintf(":%04X", port)
	for _, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 10 || !strings.HasSuffix(fields[1], local) {
			continue
		}
		for _, m := range n.members {
			if pid := m.pid(); pid != 0 && owns(pid, "socket:["+fields[9]+"]") {
				return m.at
			}
		}
	}
	return -1
}

func owns(pid int, socket string) bool {
	directory := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if target, err := os.Readlink(directory + "/" + entry.Name()); err == nil && target == socket {
			return true
		}
	}
	return false
}
