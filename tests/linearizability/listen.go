// The listeners: long polls on all keys at once, as Nacos's HTTP clients do. What they hold in the end must be the last
// version of each key.
package main

import (
	"fmt"
	"sync"
	"time"
)

const (
	// A poll that nothing ends takes far longer than a listener has in the end: the last change must be told.
	hold = 30 * time.Second
	// In the end each listener must have everything within this.
	listenersSettle = 5 * time.Second
)

type listening struct {
	name string
	// Where it is asked next.
	at int

	mutex  sync.Mutex
	values []string
	told   int
}

func newListening(name string, at, keys int) *listening {
	return &listening{name: name, at: at, values: make([]string, keys)}
}

// Listens until the world has stopped for good.
func (l *listening) run(w *world, over <-chan struct{}) {
	polls := &conn{address: w.address(l.at)}
	reads := &conn{address: w.address(l.at)}
	defer polls.close()
	defer reads.close()
	go func() {
		<-over
		polls.interrupt()
	}()
	for {
		select {
		case <-over:
			return
		default:
		}
		if !l.once(w, polls, reads) {
			l.at++
			polls.move(w.address(l.at))
			reads.move(w.address(l.at))
			time.Sleep(failedPause)
		}
	}
}

// One poll, and the reads that follow it.
func (l *listening) once(w *world, polls, reads *conn) bool {
	changed, ok := polls.poll(l.md5s(), hold)
	if !ok {
		return false
	}
	for _, key := range changed {
		value, ok := reads.local(key)
		if !ok {
			return false
		}
		w.sawLocal(fmt.Sprintf("%s connection %d", l.name, reads.number), key, value)
		l.mutex.Lock()
		l.values[key] = value
		l.told++
		l.mutex.Unlock()
	}
	return true
}

func (l *listening) md5s() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	md5s := make([]string, len(l.values))
	for key, value := range l.values {
		md5s[key] = md5of(value)
	}
	return md5s
}

// Waits until the listener has these values; what it lacks when the time is over.
func (l *listening) has(final []string, until time.Time) string {
	for {
		l.mutex.Lock()
		fault := ""
		for key, value := range final {
			if l.values[key] != value {
				fault = fmt.Sprintf("%s has %q of key %d, the last is %q", l.name, l.values[key], key, value)
			}
		}
		l.mutex.Unlock()
		if fault == "" || time.Now().After(until) {
			return fault
		}
		time.Sleep(poll)
	}
}
