package main

import (
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// An operation from begin to end, of key 0.
func op(k kind, value, over string, out output, begin, end int) porcupine.Operation {
	in := input{kind: k, value: value, over: over}
	return operation(begin, in, out, out.outcome, time.Duration(begin), time.Duration(end))
}

func found(value string, begin, end int) porcupine.Operation {
	return op(get, "", "", output{value: value}, begin, end)
}

func TestHistories(t *testing.T) {
	ok := output{}
	open, missed := output{outcome: unknown}, output{outcome: mismatch}
	cases := map[string]struct {
		ops  []porcupine.Operation
		good bool
	}{
		"a read after a write":                  {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), found("a", 2, 3)}, true},
		"a lost write":                          {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), found(absent, 2, 3)}, false},
		"a stale read":                          {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(publish, "b", "", ok, 2, 3), found("a", 4, 5)}, false},
		"at the same time":                      {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(publish, "b", "", ok, 2, 6), found("a", 4, 5)}, true},
		"back again":                            {[]porcupine.Operation{op(publish, "a", "", ok, 0, 9), op(publish, "b", "", ok, 0, 9), found("a", 1, 2), found("b", 3, 4), found("a", 5, 6)}, false},
		"an unknown write is seen":              {[]porcupine.Operation{op(publish, "a", "", open, 0, 1), found(absent, 2, 3), found("a", 4, 5)}, true},
		"an unknown write is never seen":        {[]porcupine.Operation{op(publish, "a", "", open, 0, 1), found(absent, 2, 3)}, true},
		"an unknown write vanishes":             {[]porcupine.Operation{op(publish, "a", "", open, 0, 1), found("a", 2, 3), found(absent, 4, 5)}, false},
		"a removed one":                         {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(remove, "", "", ok, 2, 3), found(absent, 4, 5)}, true},
		"one that came back":                    {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(remove, "", "", ok, 2, 3), found("a", 4, 5)}, false},
		"cas over what is there":                {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "a", ok, 2, 3), found("b", 4, 5)}, true},
		"cas over something else":               {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "x", ok, 2, 3)}, false},
		"cas over nothing":                      {[]porcupine.Operation{op(casPublish, "b", "x", ok, 2, 3), found("b", 4, 5)}, true},
		"a mismatch without a reason":           {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "a", missed, 2, 3)}, false},
		"a mismatch that wrote":                 {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "x", missed, 2, 3), found("b", 4, 5)}, false},
		"two cas over the same":                 {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "a", ok, 2, 9), op(casPublish, "c", "a", ok, 2, 9)}, false},
		"an unknown cas that could not happen":  {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "x", open, 2, 3), found("b", 4, 5)}, false},
		"an unknown cas that happened in time":  {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "a", open, 2, 3), op(publish, "c", "", ok, 4, 5), found("c", 6, 7)}, true},
		"an unknown cas that would be too late": {[]porcupine.Operation{op(publish, "a", "", ok, 0, 1), op(casPublish, "b", "a", open, 2, 3), op(publish, "c", "", ok, 4, 5), found("b", 6, 7)}, false},
	}
	for name, c := range cases {
		if faults := check(configModel(), split(c.ops, keyOf), time.Minute); (len(faults) == 0) != c.good {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestWhatIsInTheHistory(t *testing.T) {
	l := newLedger(time.Now())
	l.record(0, "publish", input{}, output{}, refused, false, 0)
	l.record(0, "get", input{}, output{}, unknown, true, 0)
	if len(l.history) != 0 {
		t.Error("what did nothing, and what says nothing:", l.history)
	}
	l.record(0, "publish", input{}, output{}, unknown, false, 0)
	l.record(0, "publish", input{}, output{}, done, false, 0)
	l.record(0, "get", input{}, output{}, done, true, 0)
	if len(l.history) != 3 || l.acknowledged != 1 || l.history[0].Return != math.MaxInt64 {
		t.Error(l.history, l.acknowledged)
	}
}

func TestReadsNeverGoBack(t *testing.T) {
	v := newVersions([]string{"a", "b", absent, "c", absent})
	for _, reads := range [][]string{
		{}, {absent, "a", "a", "c"}, {"a", absent, absent, "c", absent}, {absent, absent, "b"}, {"c", absent},
	} {
		if fault := v.monotonic(reads); fault != "" {
			t.Errorf("%v: %s", reads, fault)
		}
	}
	for _, reads := range [][]string{
		{"b", "a"}, {"x"}, {"b", absent, "a"}, {"c", absent, "c"}, {absent, "c", absent, "b"},
	} {
		if v.monotonic(reads) == "" {
			t.Errorf("%v passes", reads)
		}
	}
	if newVersions([]string{"a"}).monotonic([]string{"a", absent}) == "" {
		t.Error("an absence without a removal passes")
	}
}
