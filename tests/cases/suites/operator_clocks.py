"""Members whose clocks are wrong. The clock of the machine decides no order and removes no version."""

import datetime
import os
import time

from common.servers import until
from common.web import Server
from kit.case import case
from kit.members import leader_of, log_from, log_size, member_id, metrics, versions

# Preloaded into a server; `make cases` builds it.
CLOCK = os.path.join(os.path.dirname(__file__), "..", "..", "..", "target", "shim", "clock.so")
AHEAD_DAYS = 400
DAY_SECONDS = 86_400
# Of a clock that is right against the test's.
NEAR_SECONDS = 60
# A server looks for versions that are too old 60 s after its start.
LOOKED = 75
VERSIONS = 5


def clock(fleet, at, days):
    """The wall clock of a member, from its next start on."""
    assert os.path.exists(CLOCK), f"{CLOCK} is missing: make target/shim/clock.so"
    ahead = {"LD_PRELOAD": os.path.abspath(CLOCK), "DYAD_SHIM_CLOCK_MS": str(days * DAY_SECONDS * 1_000)}
    fleet.variables[at] = ahead if days else {}


def times(server, data_id):
    """By how many seconds the versions are ahead of this test's clock, the oldest first."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamps = [datetime.datetime.fromisoformat(item["lastModifiedTime"]) for item in versions(server, data_id)]
    return [(stamp - now).total_seconds() for stamp in reversed(stamps)]


def publish(server, data_id, count):
    for n in range(count):
        answer = server.publish(data_id, f"{time.monotonic_ns()}-{n}")
        assert answer.status == 200, answer


def leads(fleet, wanted):
    """Whether this member leads; else the leader is started again, which hands its leadership over."""
    leader = leader_of(fleet)
    if leader == wanted:
        return True
    fleet.running[leader].terminate()
    fleet.running[leader].wait(30)
    fleet.start(leader)
    return False


def jump(path, days):
    with open(f"{path}.next", "w", encoding="ascii") as file:
        file.write(str(days * DAY_SECONDS * 1_000))
    os.replace(f"{path}.next", path)


@case(members=1)
def a_lone_server_with_a_wrong_clock_keeps_its_versions(fleet):
    """A server that is alone, started twice with a clock that is 400 days ahead, keeps all versions and says why. When the clock is
    right again, later versions have right times."""
    server = Server(fleet.addresses[0])
    publish(server, "old", VERSIONS)
    assert all(abs(second) < NEAR_SECONDS for second in times(server, "old")), times(server, "old")
    clock(fleet, 0, AHEAD_DAYS)
    kept = VERSIONS
    for start in range(2):
        fleet.kill(0)
        before = log_size(fleet, 0)
        fleet.start(0)
        publish(server, "old", 1)
        kept += 1
        newest = times(server, "old")[-1]
        assert abs(newest - AHEAD_DAYS * 86_400) < NEAR_SECONDS, f"the clock was not wrong: {newest} s"
        time.sleep(LOOKED)
        found = times(server, "old")
        assert len(found) == kept, f"start {start + 1}: {len(found)} of {kept} versions are left"
        told = [line for line in log_from(fleet, 0, before).splitlines() if "older than 30 days by the clock" in line]
        assert len(told) == 1 and "WARN" in told[0], told
    clock(fleet, 0, 0)
    fleet.kill(0)
    fleet.start(0)
    publish(server, "old", 1)
    found = times(server, "old")
    assert len(found) == kept + 1, found
    assert abs(found[-1]) < NEAR_SECONDS, f"{found[-1]} s: later times do not come back"
    newest = versions(server, "old")[0]
    content = server.call("GET", "/v1/cs/history", {"nid": newest["id"], "dataId": "old", "group": "G"})
    assert content.status == 200, content
    time.sleep(LOOKED)
    assert len(times(server, "old")) == kept + 1, "with the right clock again"


@case(members=3)
def a_leader_with_a_wrong_clock_stamps_by_the_others(fleet):
    """One of three is 400 days ahead and leads: versions get right times, all are kept, no instance expires, and each member
    tells whose clock is wrong."""
    wrong = 0
    servers = [Server(address) for address in fleet.addresses]
    publish(servers[1], "old", VERSIONS)
    assert servers[1].register("there", "10.0.0.1", 80, ephemeral="false").status == 200
    clock(fleet, wrong, AHEAD_DAYS)
    fleet.kill(wrong)
    fleet.start(wrong)
    until("it leads", lambda: leads(fleet, wrong), 120)
    name = f'dyad_raft_clock_difference_seconds{{member="{member_id(fleet, wrong)}"}}'
    for at in range(3):
        ahead = until("the clocks are known", lambda: metrics(fleet, at).get(name), 10)
        assert abs(ahead - AHEAD_DAYS * DAY_SECONDS) < NEAR_SECONDS, f"member {at + 1}: the clock was not wrong: {ahead}"
    publish(servers[wrong], "old", 1)
    assert abs(times(servers[wrong], "old")[-1]) < NEAR_SECONDS, times(servers[wrong], "old")
    until("it is told", lambda: "the clock of this member is 400 days ahead of" in log_from(fleet, wrong, 0), 10)
    address = fleet.addresses[wrong]
    until("it is told", lambda: f"the clock of member {address} (" in log_from(fleet, 1, 0), 10)
    ended = time.monotonic() + LOOKED
    while time.monotonic() < ended:
        beat = '{"ip":"10.0.0.2","port":80,"serviceName":"DEFAULT_GROUP@@there-e"}'
        assert servers[1].call("PUT", "/v1/ns/instance/beat", {"serviceName": "there-e", "beat": beat}).status == 200
        time.sleep(3)
    assert metrics(fleet, wrong)["dyad_raft_is_leader"] == 1, "it led all the time"
    for server in servers:
        assert len(times(server, "old")) == VERSIONS + 1
        assert server.addresses("there") == {"10.0.0.1:80"}
        assert server.addresses("there-e") == {"10.0.0.2:80"}, server.hosts("there-e")
    for at in range(3):
        assert "by the clock" not in log_from(fleet, at, 0), "nothing was held back: a majority is right"


@case(members=3)
def the_clock_of_a_leader_jumps_while_it_leads(fleet):
    """The clock of the leader jumps by 400 days, forwards and backwards: no version gets a wrong time, not even at once, nobody is
    elected, and it is told."""
    files = [os.path.join(fleet.directory, f"clock-{at}") for at in range(3)]
    for at in range(3):
        jump(files[at], 0)
        fleet.variables[at] = {"LD_PRELOAD": os.path.abspath(CLOCK), "DYAD_SHIM_CLOCK_FILE": files[at]}
        fleet.kill(at)
        fleet.start(at)
    leader = leader_of(fleet)
    term = metrics(fleet, leader)["dyad_raft_term"]
    server = Server(fleet.addresses[leader])
    name = f'dyad_raft_clock_difference_seconds{{member="{member_id(fleet, leader)}"}}'
    publish(server, "jumps", 1)
    count = 1
    # It is right in between: a trouble that goes on is told again only after a minute.
    for days in (AHEAD_DAYS, 0, -AHEAD_DAYS, 0):
        before = log_size(fleet, leader)
        jump(files[leader], days)
        publish(server, "jumps", VERSIONS)
        count += VERSIONS
        found = times(server, "jumps")
        assert len(found) == count and all(abs(second) < NEAR_SECONDS for second in found), (days, found)
        shown = lambda: abs(metrics(fleet, leader)[name] - days * DAY_SECONDS) < NEAR_SECONDS
        until("the clock is wrong, and that is known", shown, 10)
        words = f"this member is {AHEAD_DAYS} days " + ("ahead of" if days > 0 else "behind")
        words = words if days else "the clock of this member is right again"
        until("it is told", lambda: words in log_from(fleet, leader, before), 10)
    assert metrics(fleet, leader)["dyad_raft_is_leader"] == 1 and metrics(fleet, leader)["dyad_raft_term"] == term
