// What was asked and what was answered: the operations of one kind of thing, and how many of them ended in which way.
package main

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// How a request ended.
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

func (o outcome) String() string { return []string{"ok", "mismatch", "unknown", "refused"}[o] }

type ledger struct {
	began time.Time

	mutex   sync.Mutex
	history []porcupine.Operation
	counts  map[string]int
	// Writes that were acknowledged.
	acknowledged int
}

func newLedger(began time.Time) *ledger { return &ledger{began: began, counts: map[string]int{}} }

// Notes a request that began at `call`. What was refused did nothing, and a read without an answer says nothing.
func (l *ledger) record(client int, name string, in, out any, how outcome, reads bool, call time.Duration) {
	end := time.Since(l.began)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.counts[fmt.Sprintf("%s %v", name, how)]++
	if how == refused || reads && how == unknown {
		return
	}
	l.history = append(l.history, operation(client, in, out, how, call, end))
	if !reads && how == done {
		l.acknowledged++
	}
}

func (l *ledger) count(name string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.counts[name]++
}

func (l *ledger) lines() (lines []string) {
	for name, count := range l.counts {
		lines = append(lines, fmt.Sprintf("%s: %d", name, count))
	}
	slices.Sort(lines)
	return lines
}

// An operation of the history. An unknown outcome stays open: it may take effect at any later time.
func operation(client int, in, out any, how outcome, call, end time.Duration) porcupine.Operation {
	returned := int64(end)
	if how == unknown {
		returned = math.MaxInt64
	}
	return porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: returned}
}

// The operations of each thing, by its name.
func split(history []porcupine.Operation, name func(in any) string) map[string][]porcupine.Operation {
	parts := map[string][]porcupine.Operation{}
	for _, op := range history {
		parts[name(op.Input)] = append(parts[name(op.Input)], op)
	}
	return parts
}

// Checks each thing; what is wrong with those that are not linearizable. `within` bounds the search for all of them.
func check(model porcupine.Model, parts map[string][]porcupine.Operation, within time.Duration) (faults []string) {
	deadline := time.Now().Add(within)
	for what, ops := range parts {
		result, info := porcupine.CheckOperationsVerbose(model, ops, max(time.Until(deadline), time.Second))
		switch result {
		case porcupine.Illegal:
			faults = append(faults, fmt.Sprintf("%s is not linearizable: %s", what, stuck(model, ops, info)))
		case porcupine.Unknown:
			faults = append(faults, fmt.Sprintf("%s: %d operations were not checked in time", what, len(ops)))
		}
	}
	return faults
}

const (
	// Operations that do not fit, and those before the first of them, which show why.
	misfitsShown, beforeShown = 5, 20
)

// The operations around the place at which the longest linearization ends.
func stuck(model porcupine.Model, ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	name := func(op porcupine.Operation) string {
		end := "?"
		if op.Return != math.MaxInt64 {
			end = fmt.Sprint(time.Duration(op.Return))
		}
		return fmt.Sprintf("%s, client %d, %v to %s", model.DescribeOperation(op.Input, op.Output), op.ClientId,
			time.Duration(op.Call), end)
	}
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, line := range partition {
			if len(line) > len(longest) {
				longest = line
			}
		}
	}
	fits := map[string]bool{}
	for _, op := range longest {
		fits[name(op)] = true
	}
	text := fmt.Sprintf("%d of %d operations fit", len(longest), len(ops))
	for _, op := range longest[max(0, len(longest)-beforeShown):] {
		text += "\n    fits: " + name(op)
	}
	shown := 0
	for _, op := range ops {
		if !fits[name(op)] && op.Return != math.MaxInt64 && shown < misfitsShown {
			text += "\n    does not fit: " + name(op)
			shown++
		}
	}
	return text
}
