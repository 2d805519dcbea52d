"""What an operator reads in the log while members die, come back and are busy."""

import os
import time

from common.servers import until
from common.web import Server
from kit.case import case
from kit.members import leader_of, log_from, log_size, member_id

# So long the log of the leader is read after the death of a member, and so much of it there may be.
READ_SECONDS = 40
READ_BYTES = 4_000
# The largest content that a publish takes fits into the largest body.
LARGE = 9 * 1024 * 1024


@case(members=3)
def a_dead_member_is_one_line(fleet):
    """The leader writes one WARN about a member that stops answering, with its address, its id and the reason, and under 4 kB in
    40 s; and one INFO when it is back."""
    leader = leader_of(fleet)
    dead = (leader + 1) % 3
    name = f"member {fleet.addresses[dead]} ({member_id(fleet, dead)})"
    before = log_size(fleet, leader)
    fleet.kill(dead)
    time.sleep(READ_SECONDS)
    text = log_from(fleet, leader, before)
    assert len(text) < READ_BYTES, f"{len(text)} bytes:\n{text[:600]}"
    told = [line for line in text.splitlines() if "WARN" in line or "ERROR" in line]
    assert len(told) == 1 and f"{name} does not answer: Connection refused" in told[0], told
    assert "answers again" not in text and "openraft" not in text, text
    before = log_size(fleet, leader)
    fleet.start(dead)
    back = until("it is back", lambda: [
        line for line in log_from(fleet, leader, before).splitlines() if f"{name} answers again, after" in line
    ], 10)
    assert len(back) == 1 and "INFO" in back[0], back
    told = [line for line in log_from(fleet, leader, before).splitlines() if "WARN" in line or "ERROR" in line]
    assert not told, told


@case(members=3)
def a_new_leader_and_a_lost_majority_are_told(fleet):
    """The others write who leads when the leader dies; the last one of three writes that there is no majority, and when there is one
    again."""
    first = leader_of(fleet)
    others = [at for at in range(3) if at != first]
    before = [log_size(fleet, at) for at in range(3)]
    fleet.kill(first)
    second = until("another one leads", lambda: [leader_of(fleet, others) + 1], 10)[0] - 1
    last = next(at for at in others if at != second)
    name = f"member {fleet.addresses[second]} ({member_id(fleet, second)})"

    def told(at, *words):
        lines = log_from(fleet, at, before[at]).splitlines()
        return [line for line in lines if all(word in line for word in words)]

    until("both tell it", lambda: told(last, "INFO", f"{name} leads from now on, in term"), 5)
    until("both tell it", lambda: told(second, "INFO", "this member leads from now on, in term"), 5)
    assert not told(last, "no leader"), "an election of a second is not worth a line"
    fleet.kill(second)
    until("it is told", lambda: told(last, "WARN", "no leader is heard, and 1 of 3 voters answer"), 15)
    fleet.start(first)
    until("it is told", lambda: told(last, "INFO", "there is a majority with a leader again"), 15)
    assert len(told(last, "no leader is heard")) == 1, told(last, "no leader")


@case(members=3)
def large_publishes_are_no_reason_for_warnings(fleet):
    """Publishes of 9 MB write no WARN into the log of any member."""
    before = [log_size(fleet, at) for at in range(3)]
    server = Server(fleet.addresses[leader_of(fleet)])
    content = os.urandom(LARGE // 2).hex()
    for n in range(4):
        # A slow machine may take longer than the leader waits for a majority; that is no matter here.
        until("it is published", lambda: server.publish(f"large-{n}", content).status == 200, 30)
    for at in range(3):
        told = [line for line in log_from(fleet, at, before[at]).splitlines() if "WARN" in line or "openraft" in line]
        assert not told, (at, told[:3])


@case(members=3, flags=("--log-level", "info,openraft=debug"))
def the_lines_of_openraft_can_be_had(fleet):
    """With openraft in the log level its lines are written."""
    until("its lines", lambda: " DEBUG openraft::" in log_from(fleet, 0, 0), 5)
