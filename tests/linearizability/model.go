// What a configuration is, as a register: the model that the checker compares the history with, and the order of versions
// that one connection's reads must follow.
package main

import (
	"fmt"
	"math"
	"time"

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

// How it ended.
type outcome int

const (
	done outcome = iota
	// Only of casPublish: the release has another md5.
	mismatch
	// Whether it took or will take effect is not known.
	unknown
	// It certainly took no effect; such requests are not in the history.
	refused
)

// The state of a key: the value of its content, which is unique to one request, or absent.
const absent = ""

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

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return absent },
		Step: step,
		DescribeOperation: func(in, out any) string {
			asked, answered := in.(input), out.(output)
			name := []string{"publish", "cas", "remove", "get"}[asked.kind]
			if answered.outcome == unknown {
				return fmt.Sprintf("%s(%d, %s over %s) -> ?", name, asked.key, asked.value, asked.over)
			}
			return fmt.Sprintf("%s(%d, %s over %s) -> %s%s", name, asked.key, asked.value, asked.over,
				[]string{"", "mismatch", "", ""}[answered.outcome], answered.value)
		},
	}
}

// An operation of the history. An unknown outcome stays open: it may take effect at any later time.
func operation(client int, in input, out output, call, end time.Duration) porcupine.Operation {
	returned := int64(end)
	if out.outcome == unknown {
		returned = math.MaxInt64
	}
	return porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: returned}
}

// The operations of each key. A get without an answer says nothing, and what was refused did nothing.
func byKey(history []porcupine.Operation) map[int][]porcupine.Operation {
	keys := map[int][]porcupine.Operation{}
	for _, op := range history {
		in, out := op.Input.(input), op.Output.(output)
		if out.outcome == refused || in.kind == get && out.outcome == unknown {
			continue
		}
		keys[in.key] = append(keys[in.key], op)
	}
	return keys
}

// Checks each key; what is wrong with those that are not linearizable. `within` bounds the search for all of them.
func check(history []porcupine.Operation, within time.Duration) (faults []string) {
	deadline := time.Now().Add(within)
	for key, ops := range byKey(history) {
		result, info := porcupine.CheckOperationsVerbose(model(), ops, max(time.Until(deadline), time.Second))
		switch result {
		case porcupine.Illegal:
			faults = append(faults, fmt.Sprintf("key %d is not linearizable: %s", key, stuck(ops, info)))
		case porcupine.Unknown:
			faults = append(faults, fmt.Sprintf("key %d: %d operations were not checked in time", key, len(ops)))
		}
	}
	return faults
}

// The operations around the place at which the longest linearization ends.
func stuck(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	longest := 0
	inLongest := map[string]bool{}
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, line := range partition {
			if len(line) <= longest {
				continue
			}
			longest = len(line)
			clear(inLongest)
			for _, op := range line {
				inLongest[name(op)] = true
			}
		}
	}
	text := fmt.Sprintf("%d of %d operations fit", longest, len(ops))
	shown := 0
	for _, op := range ops {
		if !inLongest[name(op)] && op.Return != math.MaxInt64 && shown < 5 {
			text += "\n    does not fit: " + name(op)
			shown++
		}
	}
	return text
}

func name(op porcupine.Operation) string {
	return fmt.Sprintf("%s, client %d, %v to %v", model().DescribeOperation(op.Input, op.Output), op.ClientId,
		time.Duration(op.Call), time.Duration(op.Return))
}

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
