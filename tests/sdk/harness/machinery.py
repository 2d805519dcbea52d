"""What the 1.x clients do by themselves, judged from outside: a driver registers one instance and subscribes through the
relay (mode `hold`), and the checks look at what passes the relay and at the callbacks."""

import json
import os
import queue
import socket
import time

from common.servers import hosts, http, until
from harness.driver import DETAIL, Driver
from harness.relay import Relay

GROUP = "SDK_GROUP"
# The pace that the server is set to; clients start with 5 s.
PACE_MS = 2000
# A server forgets a subscriber that has not polled for this long (`defaultPushCacheMillis`).
FORGET_SECONDS = 10
# After this time without an acknowledgement a datagram is sent again, once.
ACK_SECONDS = 10


class Machinery:
    def __init__(self, client, fleet, home, number):
        self.client = client
        self.server = fleet.addresses[0]
        self.home = os.path.join(home, client.name, "machinery")
        self.service = f"machinery-{client.name.replace('.', '-').replace(' ', '-')}"
        self.ip = f"10.7.{number}.1"
        self.steps = {}

    def run(self):
        # The first address answers nothing: a client that does not try the next one gets nowhere.
        with socket.socket() as dead, Relay(self.server) as relay:
            dead.bind(("127.0.0.1", 0))
            servers = [f"127.0.0.1:{dead.getsockname()[1]}", relay.address]
            driver = Driver(self.client, "hold", servers, self.home, self.service, self.ip, "8001")
            self.relay, self.driver, self.callbacks = relay, driver, []
            try:
                if self.step("rotation", self.rotation):
                    for name in ("beat-pace", "re-register", "udp-push", "udp-lost-ack", "udp-gzip", "polling", "udp-acked"):
                        self.step(name, getattr(self, name.replace("-", "_")))
            finally:
                driver.kill()
        with socket.socket() as dead:
            dead.bind(("127.0.0.1", 0))
            self.step("disk-cache", lambda: self.disk_cache(f"127.0.0.1:{dead.getsockname()[1]}"))
        return self.steps

    def step(self, name, check):
        if name in self.client.absent or name in self.client.later:
            return True
        try:
            ok, detail = True, check()
        except Exception as error:  # noqa: becomes a result
            ok, detail = False, f"{type(error).__name__}: {error}"
        self.steps[name] = {"ok": ok, "detail": str(detail)[:DETAIL]}
        return ok

    def read(self):
        """Takes in what the driver has said meanwhile."""
        while True:
            try:
                said = self.driver.next(0)
            except queue.Empty:
                return
            assert said is not None, f"the driver ended: {self.driver.errors()[-DETAIL:]}"
            if "event" in said:
                self.callbacks.append((time.monotonic(), set(said["event"])))
            elif said.get("ok") is False:
                raise AssertionError(str(said))

    def sees(self, expected, seconds, since=0.0):
        """Waits for a callback with exactly these instances; its time."""

        def seen():
            self.read()
            return next((at for at, found in self.callbacks if at >= since and found == expected), None)

        return until(f"a callback with {sorted(expected)}, last {self.callbacks[-1:]}", seen, seconds)

    def other(self, port):
        return f"10.7.200.1:{port}"

    def register(self, port, **metadata):
        """An instance that nobody beats and that stays all the same."""
        metadata |= {"preserved.heart.beat.timeout": "600000", "preserved.ip.delete.timeout": "600000"}
        params = {"serviceName": f"{GROUP}@@{self.service}", "ip": "10.7.200.1", "port": port}
        assert http(self.server, "POST", "/ns/instance", **params, metadata=json.dumps(metadata)) == "ok"

    def deregister(self, ip, port, ephemeral):
        params = {"serviceName": f"{GROUP}@@{self.service}", "ip": ip, "port": port, "ephemeral": ephemeral}
        assert http(self.server, "DELETE", "/ns/instance", **params) == "ok"

    @property
    def own(self):
        return f"{self.ip}:8001"

    def rotation(self):
        """Registered although the first server of its list is dead."""
        until("registered", lambda: self.own in hosts(self.server, self.service, GROUP), 30)
        if self.client.first_callback:
            self.sees({self.own}, 30)
        return "registered at the second address"

    def beats(self):
        return [one for one in self.relay.seen("PUT", "/ns/instance/beat") if one[4] == 200]

    def beat_pace(self):
        until("five beats", lambda: len(self.beats()) >= 5, 40)
        told = json.loads(self.beats()[-1][5])["clientBeatInterval"]
        assert told == PACE_MS, f"the server says {told}"
        times = [one[0] for one in self.beats()][-4:]
        gaps = [round(later - earlier, 1) for earlier, later in zip(times, times[1:])]
        assert all(PACE_MS * 0.7 <= gap * 1000 <= PACE_MS * 1.6 for gap in gaps), f"gaps {gaps}"
        return f"gaps of {gaps} s"

    def re_register(self):
        until("a beat", self.beats, 20)
        before = len(self.relay.seen())
        self.deregister(self.ip, "8001", "true")
        until("gone", lambda: self.own not in hosts(self.server, self.service, GROUP), 3)
        until("there again", lambda: self.own in hosts(self.server, self.service, GROUP), 20)
        after = self.relay.seen()[before:]
        codes = [json.loads(one[5]).get("code") for one in after if one[2] == "/ns/instance/beat" and one[4] == 200]
        posts = [one for one in after if one[1] == "POST" and one[2] == "/ns/instance"]
        if 20404 in codes:
            assert posts, "20404 without a registration after it"
            return "20404, then registered again"
        return f"a full beat registered it (codes {sorted(set(codes))})"

    def change(self, port, **metadata):
        """One more instance; when it was added, and what subscribers shall see."""
        began = time.monotonic()
        self.register(port, **metadata)
        return began, hosts(self.server, self.service, GROUP)

    def pushed(self, began, port):
        with self.relay.lock:
            return [one for one in self.relay.pushes if one[0] >= began and self.other(port) in one[4]]

    def udp_push(self):
        began, expected = self.change(1)
        at = self.sees(expected, 5, began)
        assert self.pushed(began, 1), "the callback came without a datagram"
        return f"callback {(at - began) * 1000:.0f} ms after the change"

    def udp_lost_ack(self):
        with self.relay.lock:
            self.relay.lose_acks = 1
        began, expected = self.change(2)
        self.sees(expected, 5, began)

        def sent():
            mine = self.pushed(began, 2)
            return [one[0] for one in mine if one[1] == mine[0][1]]

        until("sent again", lambda: len(sent()) >= 2, ACK_SECONDS + 5)
        gap = sent()[1] - sent()[0]
        assert ACK_SECONDS - 1 <= gap <= ACK_SECONDS + 3, f"sent again after {gap:.1f} s"
        quiet = time.monotonic() + ACK_SECONDS + 2
        until("no third datagram", lambda: time.monotonic() > quiet or len(sent()) > 2, ACK_SECONDS + 5)
        assert len(sent()) == 2, f"sent {len(sent())} times"
        self.sees(expected, 1)
        self.lost = self.pushed(began, 2)[0][1]
        return f"sent again after {gap:.1f} s, then acknowledged"

    def udp_gzip(self):
        began, expected = self.change(3, long="x" * 700)
        self.sees(expected, 5, began)
        sizes = [one[2:4] for one in self.pushed(began, 3)]
        assert sizes and sizes[0][0] < sizes[0][1], f"bytes sent and meant: {sizes}"
        return f"{sizes[0][0]} bytes for {sizes[0][1]}"

    def polling(self):
        """Without pushes a change is seen by the next poll."""
        self.relay.push_off = True
        quiet = time.monotonic() + FORGET_SECONDS + 3
        until("forgotten as a subscriber", lambda: time.monotonic() > quiet, FORGET_SECONDS + 10)
        began, expected = self.change(4)
        at = self.sees(expected, 25, began)
        assert not self.pushed(began, 4), "it was pushed"
        polls = [one for one in self.relay.seen("GET", "/ns/instance/list") if began <= one[0] <= at + 1]
        assert polls, "no poll"
        return f"callback {at - began:.1f} s after the change"

    def udp_acked(self):
        """The server understood the acknowledgements: it repeated nothing but the datagram whose own was lost."""
        with self.relay.lock:
            numbers = [one[1] for one in self.relay.pushes]
        repeated = {number for number in numbers if numbers.count(number) > 1}
        assert repeated == {self.lost}, f"{len(repeated)} of {len(set(numbers))} were repeated"
        return f"{len(set(numbers))} datagrams"

    def disk_cache(self, nobody):
        driver = Driver(self.client, "cache", [nobody], self.home, self.service)
        try:
            said = driver.next(60)
            assert said, driver.errors()[-DETAIL:]
            found = set(said.get("event", []))
            assert self.own in found, f"{said}"
            return f"{len(found)} instances with no server there"
        except queue.Empty:
            raise AssertionError(f"nothing within 60 s: {driver.errors()[-DETAIL:]}") from None
        finally:
            driver.kill()
