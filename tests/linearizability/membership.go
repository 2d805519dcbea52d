// Changes of the membership, said by an operator while the clients work, and what else may happen in the middle of one: the leader
// is cut off or killed. Whatever is said is carried out in the end, and the run ends with three voters.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// From the first word of a change to its end, with elections and a fault in between.
	changeMax = 60 * time.Second
	// A fault in the middle of a change comes within this time.
	middle = 300 * time.Millisecond
)

// One change and what undoes it, so that all three are voters again.
func (w *world) changed(at int, took time.Duration, random *rand.Rand, d *deeds) (string, error) {
	on := (at + 1 + random.IntN(members-1)) % members
	address := w.fleet.members[at].address()
	d.changes++
	switch random.IntN(4) {
	case 0:
		what := fmt.Sprintf("leadership handed to member %d", at+1)
		how, err := w.disturbed(random, d, func() error { return w.fleet.insist(on, "", "transfer-leader", address) })
		return what + how, err
	case 1:
		what := fmt.Sprintf("member %d removed and added with an empty disk", at+1)
		how, err := w.disturbed(random, d, func() error { return w.fleet.insist(on, "no member has the address", "remove", address) })
		if err != nil {
			return what + how, err
		}
		if err := w.fleet.kill(at); err != nil {
			return what + how, err
		}
		if err := os.RemoveAll(w.fleet.data(at)); err != nil {
			return what + how, err
		}
		w.sleep(took / 2)
		if err := w.fleet.start(at); err != nil {
			return what + how, err
		}
		proxied := fmt.Sprintf("%s/%d", address, w.fleet.members[at].port+proxyPort)
		more, err := w.disturbed(random, d, func() error { return w.fleet.insist(on, "", "add", proxied) })
		if err == nil {
			err = w.fleet.ready(at)
		}
		return what + how + more, err
	default:
		what := fmt.Sprintf("member %d demoted and promoted", at+1)
		how, err := w.disturbed(random, d, func() error { return w.fleet.insist(on, "", "demote", address) })
		if err != nil {
			return what + how, err
		}
		w.sleep(took)
		more, err := w.disturbed(random, d, func() error { return w.fleet.insist(on, "", "promote", address) })
		return what + how + more, err
	}
}

// Does something while the leader may be cut off or killed.
func (w *world) disturbed(random *rand.Rand, d *deeds, do func() error) (string, error) {
	done := make(chan error, 1)
	fault, wait := random.IntN(3), time.Duration(random.Int64N(int64(middle)))
	leader := w.fleet.leader(random.IntN(members))
	go func() { done <- do() }()
	time.Sleep(wait)
	how := ""
	switch {
	case fault == 1:
		d.cuts++
		how = fmt.Sprintf(", member %d cut off in the middle", leader+1)
		for peer := range members {
			w.fleet.net.set(leader, peer, true)
			w.fleet.net.set(peer, leader, true)
		}
		w.heal(lasts, random)
	case fault == 2 && w.fleet.members[leader].pid() != 0:
		d.kills++
		how = fmt.Sprintf(", member %d killed in the middle", leader+1)
		if err := w.fleet.kill(leader); err != nil {
			return how, err
		}
		w.sleep(lasts / 2)
		if err := w.fleet.start(leader); err != nil {
			return how, err
		}
	}
	return how, <-done
}

// Says a command until it is carried out. One whose answer was lost may have been; then it is refused with `carriedOut`.
func (f *fleet) insist(on int, carriedOut string, words ...string) error {
	words = append(append([]string{"cluster"}, words...), "--data-dir", f.data(on))
	for began := time.Now(); ; time.Sleep(failedPause) {
		said, err := exec.Command(f.binary, words...).CombinedOutput()
		if err == nil || carriedOut != "" && strings.Contains(string(said), carriedOut) {
			return nil
		}
		if time.Since(began) > changeMax {
			return fmt.Errorf("dyad %s: %w: %s", strings.Join(words, " "), err, said)
		}
	}
}
