// What a configuration is, as a register: the model that the checker compares the history with, and the order of versions
// that one connection's reads must follow.
package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// What a request asks for.
type kind int

const (
	publish kind = iota
	casPublish
	remove
	// A linearizable get. Local gets are no operations of the model: they may be behind.
	get
)

// The state of a key: the value of its content, which is unique to one request, or absent.
const absent = ""

func (k kind) String() string { return []string{"publish", "cas", "remove", "get"}[k] }

// A request about one key.
type input struct {
	kind  kind
	key   int
	value string
	// The value over which casPublish writes.
	over string
}

// Its answer.
type output struct {
	outcome outcome
	// What get found.
	value string
}

func step(state, in, out any) (bool, any) {
	now, asked, answered := state.(string), in.(input), out.(output)
	switch asked.kind {
	case publish:
		return true, asked.value
	case remove:
		return true, absent
	case get:
		return answered.value == now, now
	}
	// What is not there is created, whatever is expected of it.
	matches := now == absent || now == asked.over
	switch answered.outcome {
	case done:
		return matches, asked.value
	case mismatch:
		return !matches, now
	}
	if matches {
		return true, asked.value
	}
	return true, now
}

func configModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return absent },
		Step: step,
		DescribeOperation: func(in, out any) string {
			asked, answered := in.(input), out.(output)
			return fmt.Sprintf("%v(%s over %q) -> %v %s", asked.kind, asked.value, asked.over, answered.outcome, answered.value)
		},
	}
}

// Which history a request belongs to.
func keyOf(in any) string { return fmt.Sprintf("key %d", in.(input).key) }

// The states that a key went through, by the server's own history.
type versions struct {
	// Ascending by revision, without the absence before the first.
	states []string
	place  map[string]int
}

func newVersions(states []string) versions {
	v := versions{states: states, place: map[string]int{}}
	for at, state := range states {
		if state != absent {
			v.place[state] = at
		}
	}
	return v
}

// Do these reads, in their order, never go back? What is wrong if they do. An absence counts as the earliest one that
// fits, so that only what no order explains is a fault.
func (v versions) monotonic(reads []string) string {
	at := -1
	for n, read := range reads {
		if read != absent {
			place, known := v.place[read]
			if !known {
				return fmt.Sprintf("read %d: %s is no version of the history", n, read)
			}
			if place < at {
				return fmt.Sprintf("read %d: %s is version %d, after version %d was read", n, read, place, at)
			}
			at = place
			continue
		}
		for at >= 0 && (at >= len(v.states) || v.states[at] != absent) {
			at++
			if at >= len(v.states) {
				return fmt.Sprintf("read %d: absent, but was never removed after the version read before", n)
			}
		}
	}
	return ""
}
