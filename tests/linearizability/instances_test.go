package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation of instance 0 from begin to end.
func did(deed deed, tag string, how outcome, begin, end int) porcupine.Operation {
	in := demand{deed: deed, tag: tag}
	return operation(begin, in, reply{outcome: how}, how, time.Duration(begin), time.Duration(end))
}

func lists(registered, set string, begin, end int) porcupine.Operation {
	out := reply{shown: entry{registered, set}}
	return operation(begin, demand{deed: list}, out, done, time.Duration(begin), time.Duration(end))
}

// A tag of this kind.
func tag(begins string, on bool) string {
	for n := 0; ; n++ {
		if tag := fmt.Sprintf("%s%d", begins, n); enabled(tag) == on {
			return tag
		}
	}
}

func TestHistoriesOfInstances(t *testing.T) {
	a, b, s, off := tag("a", true), tag("b", true), tag("s", true), tag("off", false)
	cases := map[string]struct {
		ops  []porcupine.Operation
		good bool
	}{
		"a list after a registration": {[]porcupine.Operation{did(register, a, done, 0, 1), lists(a, "", 2, 3)}, true},
		"a lost registration":         {[]porcupine.Operation{did(register, a, done, 0, 1), lists("", "", 2, 3)}, false},
		"a stale list":                {[]porcupine.Operation{did(register, a, done, 0, 1), did(register, b, done, 2, 3), lists(a, "", 4, 5)}, false},
		"gone":                        {[]porcupine.Operation{did(register, a, done, 0, 1), did(deregister, "", done, 2, 3), lists("", "", 4, 5)}, true},
		"back from the dead":          {[]porcupine.Operation{did(register, a, done, 0, 1), did(deregister, "", done, 2, 3), lists(a, "", 4, 5)}, false},
		"set":                         {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), lists(a, s, 4, 5)}, true},
		"set, and not shown":          {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), lists(a, "", 4, 5)}, false},
		"set, and registered again":   {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), did(register, b, done, 4, 5), lists(b, s, 6, 7)}, true},
		"lost with a registration":    {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), did(register, b, done, 4, 5), lists(b, "", 6, 7)}, false},
		"ended with the instance":     {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), did(deregister, "", done, 4, 5), did(register, b, done, 6, 7), lists(b, "", 8, 9)}, true},
		"outlived the instance":       {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, s, done, 2, 3), did(deregister, "", done, 4, 5), did(register, b, done, 6, 7), lists(b, s, 8, 9)}, false},
		"set before it came":          {[]porcupine.Operation{did(override, s, done, 0, 1), lists("", "", 2, 3), did(register, a, done, 4, 5), lists(a, s, 6, 7)}, true},
		"disabled":                    {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, off, done, 2, 3), lists("", "", 4, 5), did(override, s, done, 6, 7), lists(a, s, 8, 9)}, true},
		"disabled, and shown":         {[]porcupine.Operation{did(register, a, done, 0, 1), did(override, off, done, 2, 3), lists(a, off, 4, 5)}, false},
		"registered as disabled":      {[]porcupine.Operation{did(register, off, done, 0, 1), lists("", "", 2, 3), did(override, s, done, 4, 5), lists(off, s, 6, 7)}, true},
		"an unknown one is seen late": {[]porcupine.Operation{did(register, a, unknown, 0, 1), lists("", "", 2, 3), lists(a, "", 4, 5)}, true},
		"an unknown one never comes":  {[]porcupine.Operation{did(register, a, unknown, 0, 1), lists("", "", 2, 3)}, true},
		"an unknown end comes late":   {[]porcupine.Operation{did(register, a, done, 0, 1), did(deregister, "", unknown, 2, 3), lists(a, "", 4, 5), lists("", "", 6, 7)}, true},
		// What a member that proposes an unanswered deregistration again does, unless it is known for the same one.
		"an end that comes twice": {[]porcupine.Operation{
			did(register, a, done, 0, 1), did(deregister, "", done, 2, 99), lists("", "", 4, 5), did(register, b, done, 6, 7), lists("", "", 8, 9),
		}, false},
		"a registration that comes twice": {[]porcupine.Operation{
			did(register, a, done, 0, 99), lists(a, "", 2, 3), did(deregister, "", done, 4, 5), lists("", "", 6, 7), lists(a, "", 8, 9),
		}, false},
		"an override that comes twice": {[]porcupine.Operation{
			did(register, a, done, 0, 1), did(override, s, done, 2, 99), lists(a, s, 4, 5), did(override, off, done, 6, 7), lists(a, s, 8, 9),
		}, false},
	}
	for name, c := range cases {
		if faults := check(instanceModel(), split(c.ops, instanceOf), time.Minute); (len(faults) == 0) != c.good {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

// Weights must be such that the server takes them as they are, and some tags must disable.
func TestTags(t *testing.T) {
	off := 0
	for n := range 1000 {
		tag := fmt.Sprintf("c1-%d", n)
		if weight(tag) < 1 || weight(tag) > 10_000 {
			t.Error(tag, weight(tag))
		}
		if !enabled(tag) {
			off++
		}
	}
	if off < 50 || off > 200 {
		t.Errorf("%d of 1000 are disabled", off)
	}
}

func TestWhatAListShows(t *testing.T) {
	a, s := tag("a", true), tag("s", true)
	host := func(port int, tag, meta string) string {
		return fmt.Sprintf(`{"ip":"127.0.0.1","port":%d,"weight":%v,"enabled":true,"metadata":%s}`, port, weight(tag), meta)
	}
	for _, c := range []struct {
		hosts string
		want  entry
	}{
		{"", entry{}},
		{host(portOf(1), a, `{"reg":"`+a+`"}`), entry{}},
		{host(portOf(0), a, `{"reg":"`+a+`"}`), entry{a, ""}},
		{host(portOf(0), s, `{"reg":"`+a+`","put":"`+s+`"}`), entry{a, s}},
		{host(portOf(0), a, `{"reg":"`+a+`","put":"`+s+`"}`), entry{"torn:" + a, s}},
		{host(portOf(0), a, `{"reg":"`+a+`"}`) + "," + host(portOf(0), a, `{"reg":"`+a+`"}`), entry{"twice:" + a, ""}},
	} {
		if got, ok := shownIn(`{"hosts":[`+c.hosts+`]}`, 0); !ok || got != c.want {
			t.Errorf("%s: %v %v", c.hosts, got, ok)
		}
	}
}
