// What a persistent instance is: who registered it last, and what was set for it since. The model that the checker compares
// the histories of instances with.
package main

import (
	"fmt"
	"hash/fnv"

	"github.com/anishathalye/porcupine"
)

// What a request about an instance asks for.
type deed int

const (
	register deed = iota
	deregister
	// Sets weight, enabled and metadata, which are shown instead of what was registered (HTTP PUT).
	override
	// A linearizable list.
	list
)

func (d deed) String() string { return []string{"register", "deregister", "override", "list"}[d] }

// A request about one instance. The tag is unique to it, and its weight and enabled follow from it.
type demand struct {
	deed     deed
	instance int
	tag      string
}

// Its answer: `shown` is what a list has of the instance.
type reply struct {
	outcome outcome
	shown   entry
}

// The tags of the registration and of the override, each empty when there is none. A list that does not have the instance
// shows the zero value.
type entry struct {
	registered, set string
}

// A numeric fingerprint of the tag.
func sum(tag string) uint32 {
	hash := fnv.New32a()
	hash.Write([]byte(tag))
	return hash.Sum32()
}

func weight(tag string) float64 { return float64(1 + sum(tag)%9_999) }

// A list does not show a disabled instance: every ninth.
func enabled(tag string) bool { return sum(tag)/10_000%9 > 0 }

// The tag whose weight and enabled are in force.
func (e entry) inForce() string {
	if e.set != "" {
		return e.set
	}
	return e.registered
}

// What a list shows of an instance in this state.
func (e entry) listed() entry {
	if e.registered == "" || !enabled(e.inForce()) {
		return entry{}
	}
	return e
}

// The rules of the server:
//   - a registration replaces the one before, and keeps what was set for the instance while it is there;
//   - what is set before the first registration waits for it (the leader drops it after a minute without an instance, which
//     no instance here is without for so long);
//   - a deregistration ends both.
func instanceStep(state, in, out any) (bool, any) {
	now, asked, answered := state.(entry), in.(demand), out.(reply)
	switch asked.deed {
	case register:
		return true, entry{registered: asked.tag, set: now.set}
	case override:
		return true, entry{registered: now.registered, set: asked.tag}
	case deregister:
		return true, entry{}
	}
	return answered.shown == now.listed(), now
}

func instanceModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return entry{} },
		Step: instanceStep,
		DescribeOperation: func(in, out any) string {
			asked, answered := in.(demand), out.(reply)
			if asked.deed == list {
				return fmt.Sprintf("list -> %v", answered.shown)
			}
			return fmt.Sprintf("%v(%s) -> %v", asked.deed, asked.tag, answered.outcome)
		},
	}
}

// Which history a request belongs to.
func instanceOf(in any) string { return fmt.Sprintf("instance %d", in.(demand).instance) }
