// The clients that register, deregister, set and list persistent instances. Every second one registers over gRPC, and every
// fourth one only lists: nothing keeps it from asking a member that is cut off and does not know it.
package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Client numbers of these, and of the reads after the faults, in the histories.
const registrarsFrom, finalFrom = 500, 1000

// Asks something of an instance, for the history.
func (w *world) demand(number int, d demand, send func(demand) reply) reply {
	call := time.Since(w.began)
	out := send(d)
	w.instances.record(number, d.deed.String(), d, out, out.outcome, d.deed == list, call)
	return out
}

// Asks until the world stops.
func (w *world) registrar(number, instances int, random *rand.Rand) {
	at := number
	c, s := &conn{address: w.address(at)}, &sdk{address: w.sdkAddress(at)}
	defer c.close()
	defer s.close()
	for n := 0; !w.stop.Load(); n++ {
		d := demand{instance: random.IntN(instances), tag: fmt.Sprintf("r%d-%d", number, n)}
		send := c.demand
		if number%2 == 1 {
			send = s.demand
		}
		switch dice := random.IntN(100); {
		case number%4 == 3:
			d.deed, d.tag, send = list, "", c.demand
		case dice < 28:
			d.deed = register
		case dice < 50:
			d.deed, d.tag = deregister, ""
		case dice < 65:
			d.deed, send = override, c.demand
		default:
			d.deed, d.tag, send = list, "", c.demand
		}
		failed := w.demand(registrarsFrom+number, d, send).outcome != done
		if failed {
			time.Sleep(failedPause)
		}
		if failed || n%stay == stay-1 {
			at++
			c.move(w.address(at))
			s.move(w.sdkAddress(at))
		}
		time.Sleep(time.Duration(random.Int64N(int64(2 * think))))
	}
}

func (w *world) sdkAddress(at int) string {
	return fmt.Sprintf("127.0.0.1:%d", w.fleet.members[at%members].port+sdkPort)
}

// After the faults: what every member lists of each instance, consistently and then by itself.
func (w *world) settleInstances(instances int) (broken []string) {
	final := make([]entry, instances)
	for at, m := range w.fleet.members {
		c := &conn{address: m.address()}
		defer c.close()
		for n := range instances {
			got := reply{outcome: unknown}
			for began := time.Now(); got.outcome != done; time.Sleep(failedPause) {
				if time.Since(began) > readyMax {
					return append(broken, fmt.Sprintf("member %d does not answer a linearizable list in the end", at+1))
				}
				got = w.demand(finalFrom+at, demand{deed: list, instance: n}, c.demand)
			}
			if at > 0 && got.shown != final[n] {
				broken = append(broken, fmt.Sprintf("member %d lists %v of instance %d, member 1 %v", at+1, got.shown, n, final[n]))
			}
			if local, ok := c.list(n, false); !ok || local != got.shown {
				broken = append(broken, fmt.Sprintf("member %d lists %v of instance %d, and then locally %v", at+1, got.shown, n, local))
			}
			final[n] = got.shown
		}
	}
	return broken
}
