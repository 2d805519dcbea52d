// The clients: each has a connection, asks for one thing after the other, and goes to another member when one does not
// answer. What it was told is the history.
package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Mean pause between two requests of a client: bounds the history, which is to be checked as a whole.
	think = 15 * time.Millisecond
	// After a failed request.
	failedPause = 100 * time.Millisecond
	// A client that is content goes to another member after so many requests, so that each member has some.
	stay = 200
)

// Local reads of one key on one connection, in their order.
type seen struct {
	conn string
	key  int
}

// What all clients share.
type world struct {
	fleet *fleet
	keys  int
	began time.Time
	stop  atomic.Bool
	// What was asked of configurations, and of instances.
	configs, instances *ledger

	mutex sync.Mutex
	local map[seen][]string
}

func newWorld(f *fleet, keys int) *world {
	began := time.Now()
	return &world{fleet: f, keys: keys, began: began, configs: newLedger(began), instances: newLedger(began), local: map[seen][]string{}}
}

func (w *world) address(at int) string { return w.fleet.members[at%members].address() }

// Asks something of a configuration, for the history.
func (w *world) ask(c *conn, client int, in input) output {
	call := time.Since(w.began)
	out := c.perform(in)
	w.configs.record(client, in.kind.String(), in, out, out.outcome, in.kind == get, call)
	return out
}

func (w *world) sawLocal(conn string, key int, value string) {
	w.configs.count("local get")
	w.mutex.Lock()
	defer w.mutex.Unlock()
	which := seen{conn, key}
	// Equal neighbours say nothing new.
	if reads := w.local[which]; len(reads) == 0 || reads[len(reads)-1] != value {
		w.local[which] = append(reads, value)
	}
}

// Asks until the world stops.
func (w *world) client(number int, random *rand.Rand) {
	at := number
	c := &conn{address: w.address(at)}
	defer c.close()
	// What this client saw last of each key: what it expects when it writes over it.
	last := make([]string, w.keys)
	for n := 0; !w.stop.Load(); n++ {
		ok := w.one(c, number, n, last, random)
		if !ok {
			time.Sleep(failedPause)
		}
		if !ok || n%stay == stay-1 {
			at++
			c.move(w.address(at))
		}
		time.Sleep(time.Duration(random.Int64N(int64(2 * think))))
	}
}

// One request; false if it failed.
func (w *world) one(c *conn, number, n int, last []string, random *rand.Rand) bool {
	in := input{key: random.IntN(w.keys), value: fmt.Sprintf("c%d-%d", number, n)}
	switch dice := random.IntN(100); {
	case dice < 30:
		in.kind = publish
	case dice < 45:
		in.kind, in.over = casPublish, last[in.key]
	case dice < 52:
		in.kind, in.value = remove, ""
	case dice < 78:
		in.kind, in.value = get, ""
	default:
		value, ok := c.local(in.key)
		if ok {
			last[in.key] = value
			w.sawLocal(fmt.Sprintf("client %d connection %d", number, c.number), in.key, value)
		}
		return ok
	}
	// Over nothing is no condition at all.
	if in.kind == casPublish && in.over == absent {
		in.kind = publish
	}
	out := w.ask(c, number, in)
	switch {
	case out.outcome == done && in.kind == get:
		last[in.key] = out.value
	case out.outcome == done:
		last[in.key] = in.value
	}
	return out.outcome == done || out.outcome == mismatch
}

// The history of every key as the server tells it, put together from what is asked from time to time: the server keeps
// only the newest versions of each.
type historian struct {
	mutex sync.Mutex
	rows  []map[string]row
}

func newHistorian(keys int) *historian {
	h := &historian{rows: make([]map[string]row, keys)}
	for key := range h.rows {
		h.rows[key] = map[string]row{}
	}
	return h
}

// Asks for key after key until the world stops.
func (h *historian) run(w *world) {
	c := &conn{address: w.address(0)}
	defer c.close()
	for at, key := 0, 0; !w.stop.Load(); key = (key + 1) % w.keys {
		if !h.ask(c, key) {
			at++
			c.move(w.address(at))
		}
		time.Sleep(failedPause)
	}
}

// Reads pages until one has a version that is known; false if the member does not answer.
func (h *historian) ask(c *conn, key int) bool {
	for page := 1; ; page++ {
		rows, ok := c.history(key, page)
		if !ok {
			return false
		}
		met := len(rows) < historyPage
		h.mutex.Lock()
		for _, row := range rows {
			_, known := h.rows[key][row.ID]
			met = met || known
			h.rows[key][row.ID] = row
		}
		h.mutex.Unlock()
		if met {
			return true
		}
	}
}
