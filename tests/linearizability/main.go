// Linearizability of what raft replicates, while three real members are killed, paused, cut off, and taken out and in again.
// Clients publish, publish over an expected version, remove and read configurations, and the history must be one of a register
// for each key. Local reads must not go back on one connection, and every listener must end with the last versions. Other clients
// register, deregister, set and list persistent instances, and the history of each must follow the rules of `instances.go`.
//
// Exit code 1 if a promise was broken, 2 if the run says nothing.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// Two at each member.
	listeners = 2 * members
	// Longest search for a linearization.
	checkMax = 5 * time.Minute
	// Acknowledged writes of a second without which a run says nothing, in the mean: of configurations, and of instances.
	writesMin, instanceWritesMin = 20, 10
	// Faults that are shown, of each kind.
	shownMax = 5
)

// How large a run is.
type plan struct {
	seconds                  int
	clients, keys            int
	registrars, instanceKeys int
	seed                     uint64
}

func main() {
	var p plan
	binary := flag.String("binary", "target/release/dyad", "the server to test")
	flag.IntVar(&p.seconds, "seconds", 300, "how long the clients work")
	flag.IntVar(&p.clients, "clients", 8, "clients of configurations")
	flag.IntVar(&p.keys, "keys", 20, "configurations")
	flag.IntVar(&p.registrars, "registrars", 8, "clients of persistent instances")
	flag.IntVar(&p.instanceKeys, "instances", 4, "persistent instances")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "of the clients' and the faults' choices")
	keep := flag.Bool("keep", false, "leave data and logs after a failed run")
	flag.Parse()
	os.Exit(run(*binary, p, *keep))
}

func run(binary string, p plan, keep bool) int {
	f, err := newFleet(binary)
	if err != nil {
		fmt.Println("INVALID", err)
		return 2
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		f.close(false)
		os.Exit(2)
	}()
	fmt.Println("seed", p.seed)
	broken, invalid := play(f, p)
	for _, what := range broken {
		fmt.Println("BROKEN", what)
	}
	for _, what := range invalid {
		fmt.Println("INVALID", what)
	}
	f.close(keep && len(broken)+len(invalid) > 0)
	switch {
	case len(broken) > 0:
		fmt.Println("FAIL")
		return 1
	case len(invalid) > 0:
		return 2
	}
	fmt.Println("PASS")
	return 0
}

// The whole run: what was broken, and why it says nothing.
func play(f *fleet, p plan) (broken, invalid []string) {
	for at := range f.members {
		if err := f.start(at); err != nil {
			return nil, []string{err.Error()}
		}
	}
	for at := range f.members {
		if err := f.ready(at); err != nil {
			return nil, []string{err.Error()}
		}
	}
	w := newWorld(f, p.keys)
	var working, listened sync.WaitGroup
	over := make(chan struct{})
	all := make([]*listening, listeners)
	for n := range all {
		all[n] = newListening(fmt.Sprintf("listener %d", n), n, p.keys)
		listened.Go(func() { all[n].run(w, over) })
	}
	for n := range p.clients {
		working.Go(func() { w.client(n, rand.New(rand.NewPCG(p.seed, uint64(n)))) })
	}
	for n := range p.registrars {
		working.Go(func() { w.registrar(n, p.instanceKeys, rand.New(rand.NewPCG(p.seed, uint64(registrarsFrom+n)))) })
	}
	told := newHistorian(p.keys)
	working.Go(func() { told.run(w) })
	var did deeds
	var failed error
	working.Go(func() { did, failed = w.faults(rand.New(rand.NewPCG(p.seed, 1<<32))) })
	w.sleep(time.Duration(p.seconds) * time.Second)
	w.stop.Store(true)
	working.Wait()
	f.net.heal(true)
	if failed != nil {
		broken = append(broken, failed.Error())
	} else {
		broken = append(broken, settle(w, all, told)...)
		broken = append(broken, w.settleInstances(p.instanceKeys)...)
	}
	close(over)
	listened.Wait()
	if failed == nil {
		broken = append(broken, judge(w, told)...)
	}
	report(w, did, all)
	return broken, validity(w, did, p)
}

// After the faults: all members serve, agree, and have told their listeners.
func settle(w *world, all []*listening, told *historian) (broken []string) {
	final := make([]string, w.keys)
	for at, m := range w.fleet.members {
		c := &conn{address: m.address()}
		defer c.close()
		for key := range w.keys {
			value, ok := w.last(c, at, key)
			if !ok {
				return append(broken, fmt.Sprintf("member %d does not answer a linearizable get in the end", at+1))
			}
			if at > 0 && value != final[key] {
				broken = append(broken, fmt.Sprintf("member %d has %q of key %d, member 1 %q", at+1, value, key, final[key]))
			}
			if local, ok := c.local(key); !ok || local != value {
				broken = append(broken, fmt.Sprintf("member %d reads %q of key %d, and then locally %q", at+1, value, key, local))
			}
			final[key] = value
			if !told.ask(c, key) {
				broken = append(broken, fmt.Sprintf("member %d does not tell the history of key %d", at+1, key))
			}
		}
	}
	until := time.Now().Add(listenersSettle)
	for _, l := range all {
		if fault := l.has(final, until); fault != "" {
			broken = append(broken, fault)
		}
	}
	return broken
}

// A linearizable get that goes into the history, repeated while a leader is elected.
func (w *world) last(c *conn, at, key int) (string, bool) {
	for began := time.Now(); time.Since(began) < readyMax; time.Sleep(failedPause) {
		out := w.ask(c, finalFrom+at, input{kind: get, key: key})
		if out.outcome == done {
			return out.value, true
		}
	}
	return "", false
}

// The promises that need the whole history.
func judge(w *world, told *historian) (broken []string) {
	began := time.Now()
	broken = check(configModel(), split(w.configs.history, keyOf), checkMax)
	broken = append(broken, check(instanceModel(), split(w.instances.history, instanceOf), checkMax)...)
	fmt.Printf("%d operations on configurations and %d on instances checked in %.1f s\n", len(w.configs.history),
		len(w.instances.history), time.Since(began).Seconds())
	states := make([]versions, w.keys)
	for key, rows := range told.rows {
		states[key] = newVersions(inOrder(rows))
	}
	back := 0
	for which, reads := range w.local {
		if fault := states[which.key].monotonic(reads); fault != "" {
			if back++; back <= shownMax {
				broken = append(broken, fmt.Sprintf("%s, key %d: %s", which.conn, which.key, fault))
			}
		}
	}
	fmt.Printf("%d sequences of local reads, %d go back\n", len(w.local), back)
	return broken
}

// The states that the rows of a history left, oldest first.
func inOrder(rows map[string]row) []string {
	sorted := make([]row, 0, len(rows))
	for _, row := range rows {
		sorted = append(sorted, row)
	}
	number := func(r row) uint64 { n, _ := strconv.ParseUint(r.ID, 10, 64); return n }
	sort.Slice(sorted, func(a, b int) bool { return number(sorted[a]) < number(sorted[b]) })
	states := make([]string, len(sorted))
	for n, row := range sorted {
		states[n] = row.state()
	}
	return states
}

func report(w *world, did deeds, all []*listening) {
	fmt.Println(strings.Join(did.log, "\n"))
	fmt.Println(strings.Join(append(w.configs.lines(), w.instances.lines()...), "\n"))
	told := 0
	for _, l := range all {
		told += l.told
	}
	fmt.Printf("%d changes told to %d listeners\n", told, len(all))
	fmt.Printf("%d members killed, %d paused, %d changes of the membership, %d cuts that held %d messages\n", did.kills, did.pauses,
		did.changes, did.cuts, w.fleet.net.held.Load())
}

// Too few writes, or faults that did nothing, prove nothing.
func validity(w *world, did deeds, p plan) (invalid []string) {
	if writes := w.configs.acknowledged; writes < writesMin*p.seconds {
		invalid = append(invalid, fmt.Sprintf("only %d acknowledged writes of configurations", writes))
	}
	if writes := w.instances.acknowledged; writes < instanceWritesMin*p.seconds {
		invalid = append(invalid, fmt.Sprintf("only %d acknowledged writes of instances", writes))
	}
	if did.cuts > 0 && w.fleet.net.held.Load() == 0 {
		invalid = append(invalid, "the cuts held nothing")
	}
	if p.seconds >= 60 && (did.kills == 0 || did.cuts == 0 || did.changes == 0) {
		invalid = append(invalid, "no kill, no cut or no change of the membership")
	}
	return invalid
}
