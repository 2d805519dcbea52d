// What is done to the members: killed, paused, cut off, taken out and in again, one or several at a time, the leader more often
// than chance.
package main

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

const (
	// Between two faults, from readiness on.
	quiet = 3 * time.Second
	// A fault lasts for this, and for up to as long again.
	lasts = 2 * time.Second
	// So briefly, and for up to as long again, the leader's answers are held: a member still waits for what it asked for.
	brief = 600 * time.Millisecond
)

// What was done, and proof of it.
type deeds struct {
	kills, pauses, cuts, changes int
	log                          []string
}

// Faults until the world stops, then everything is mended.
func (w *world) faults(random *rand.Rand) (d deeds, err error) {
	for !w.stop.Load() {
		w.sleep(quiet / 2)
		d.log = append(d.log, w.loseAnswers(random, &d))
		w.sleep(quiet / 2)
		if w.stop.Load() {
			break
		}
		at := random.IntN(members)
		if random.IntN(2) == 0 {
			at = w.fleet.leader(at)
		}
		took := lasts + time.Duration(random.Int64N(int64(lasts)))
		from := time.Since(w.began)
		what, err := w.fault(at, took, random, &d)
		all := time.Since(w.began) - from
		d.log = append(d.log, fmt.Sprintf("%6.1f s %s, mended after %.1f s", from.Seconds(), what, all.Seconds()))
		if err != nil {
			return d, fmt.Errorf("%s: %w", what, err)
		}
	}
	return d, nil
}

// The leader's answers to one member are lost: the way is cut, and then its connections end. What the member asked for was
// carried out, and it asks again.
func (w *world) loseAnswers(random *rand.Rand, d *deeds) string {
	leader := w.fleet.leader(random.IntN(members))
	other := (leader + 1 + random.IntN(members-1)) % members
	from := time.Since(w.began)
	d.cuts++
	w.fleet.net.set(leader, other, true)
	w.sleep(brief + time.Duration(random.Int64N(int64(brief))))
	w.fleet.net.heal(false)
	return fmt.Sprintf("%6.1f s answers of member %d to %d lost", from.Seconds(), leader+1, other+1)
}

// One fault and its end.
func (w *world) fault(at int, took time.Duration, random *rand.Rand, d *deeds) (string, error) {
	other := (at + 1 + random.IntN(members-1)) % members
	switch random.IntN(11) {
	case 0, 1:
		d.kills++
		return fmt.Sprintf("member %d killed", at+1), w.killed(took, at)
	case 2:
		d.kills += 2
		return fmt.Sprintf("members %d and %d killed", at+1, other+1), w.killed(took, at, other)
	case 3:
		d.kills += members
		return "all members killed", w.killed(took/4, 0, 1, 2)
	case 4:
		d.pauses++
		return fmt.Sprintf("member %d paused", at+1), w.paused(took, at)
	case 5, 6:
		d.cuts++
		for peer := range members {
			w.fleet.net.set(at, peer, true)
			w.fleet.net.set(peer, at, true)
		}
		w.heal(took, random)
		return fmt.Sprintf("member %d cut off", at+1), nil
	case 7, 8, 9:
		return w.changed(at, took, random, d)
	}
	d.cuts++
	w.fleet.net.set(at, other, true)
	w.heal(took, random)
	return fmt.Sprintf("the way from member %d to %d cut", at+1, other+1), nil
}

func (w *world) heal(took time.Duration, random *rand.Rand) {
	w.sleep(took)
	w.fleet.net.heal(random.IntN(2) == 0)
}

func (w *world) killed(took time.Duration, which ...int) error {
	if err := w.fleet.kill(which...); err != nil {
		return err
	}
	w.sleep(took)
	for _, at := range which {
		if err := w.fleet.start(at); err != nil {
			return err
		}
	}
	for _, at := range which {
		if err := w.fleet.ready(at); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) paused(took time.Duration, at int) error {
	if err := w.fleet.signal(at, syscall.SIGSTOP); err != nil {
		return err
	}
	w.sleep(took)
	return w.fleet.signal(at, syscall.SIGCONT)
}

// Sleeps, but not longer than the world lasts.
func (w *world) sleep(howLong time.Duration) {
	for until := time.Now().Add(howLong); time.Now().Before(until) && !w.stop.Load(); {
		time.Sleep(poll)
	}
}
