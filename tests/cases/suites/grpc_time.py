"""`lastRefTime` is what clients order lists by: some drop a list whose time is not larger than that of the one they have."""

import os

from common.servers import until
from common.web import Server
from kit.case import case
from kit.sdk import Connection

# Preloaded into a server; `make cases` builds it.
CLOCK = os.path.join(os.path.dirname(__file__), "..", "..", "..", "target", "shim", "clock.so")
NOTIFY = "NotifySubscriberRequest"
# Of one member against another's; clocks of a cluster differ by milliseconds, or by seconds after a bad day.
AHEAD_MS = 5_000


class Times:
    """What one client that goes from server to server has seen of a service."""

    def __init__(self, service):
        self.service = service
        self.last = 0

    def see(self, where, info):
        seen = info["lastRefTime"]
        assert seen >= self.last, f"{self.service}: {where} says {seen}, {self.last - seen} ms less than was seen before"
        self.last = seen

    def visit(self, where, server, change):
        """Asks, subscribes, and is told of a change. A list that is new has a larger time than the one before it."""
        with Connection(server) as client:
            self.see(f"a query of {where}", client.query(self.service).json["serviceInfo"])
            answer = client.subscribe(self.service).json["serviceInfo"]
            self.see(f"a subscription at {where}", answer)
            before, last = client.count, self.last
            change(server)
            push = client.next(NOTIFY, lambda push: push.json["serviceInfo"]["hosts"] != answer["hosts"], before)
            self.see(f"a push of {where}", push.json["serviceInfo"])
            assert self.last > last, f"a push of {where} with other hosts has the time of the list before it, {last}"


def clock(fleet, at, ahead_ms):
    """The wall clock of a member, from its next start on."""
    assert os.path.exists(CLOCK), f"{CLOCK} is missing: make target/shim/clock.so"
    fleet.variables[at] = {"LD_PRELOAD": os.path.abspath(CLOCK), "DYAD_SHIM_CLOCK_MS": str(ahead_ms)}


def changing(service, **more):
    """A change that every member sees: one more instance each time."""
    port = 0

    def change(server):
        nonlocal port
        port += 1
        assert server.register(service, "10.0.0.1", port, **more).status == 200

    return change


@case(members=3)
def time_never_goes_back_across_members(fleet):
    """A client that goes from a member whose clock is ahead to one whose clock is not sees `lastRefTime` grow, for persistent
    and for ephemeral instances."""
    for at, ahead in enumerate((AHEAD_MS, 0, -AHEAD_MS)):
        fleet.kill(at)
        clock(fleet, at, ahead)
        fleet.start(at, wait=False)
    for at in range(3):
        fleet.wait(at)
    servers = [Server(address) for address in fleet.addresses]
    wrong = []
    for lifetime in ("false", "true"):
        service = f"times-{'ephemeral' if lifetime == 'true' else 'persistent'}"
        times, change = Times(service), changing(service, ephemeral=lifetime)
        change(servers[0])
        for server in servers:
            until("listed", lambda: server.hosts(service), 10)
        try:
            for round_ in range(2):
                for at, server in enumerate(servers):
                    times.visit(f"member {at + 1} in round {round_ + 1}", server, change)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "; ".join(wrong)


@case(members=1)
def time_never_goes_back_across_a_restart(fleet):
    """A server that is started again with a clock that is behind goes on with a larger `lastRefTime`."""
    server = Server(fleet.addresses[0])
    wrong = []
    seen = {}
    for lifetime in ("false", "true"):
        service = f"times-{'ephemeral' if lifetime == 'true' else 'persistent'}"
        seen[service] = Times(service), changing(service, ephemeral=lifetime)
        seen[service][1](server)
    for ahead in (0, -AHEAD_MS):
        if ahead:
            fleet.kill(0)
            clock(fleet, 0, ahead)
            fleet.start(0)
        for service, (times, change) in seen.items():
            try:
                times.visit(f"the server, {ahead} ms ahead", server, change)
            except AssertionError as error:
                wrong.append(str(error))
    assert not wrong, "; ".join(wrong)
