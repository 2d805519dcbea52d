"""Small and full disks, each of them a file system of its own, which needs root."""

import contextlib
import os
import shutil
import subprocess
import time

from common.servers import until
from common.web import Server
from kit.case import case
from kit.members import leader_of, log_from, log_size, member_id, metrics, status

# The file system of a member. A tenth of it is the reserve, and a quarter of that the mark for entries.
SIZE_MIB = 64
MIB = 1 << 20
RESERVE = SIZE_MIB * MIB // 10
# The disk is asked twice a second, a member for its disk once a second.
NOTICED_SECONDS = 10
# Longer than several elections would take.
QUIET_SECONDS = 5
# Between two writes, so that all of them find room on the small disk later.
PAUSE_SECONDS = 0.05


@contextlib.contextmanager
def small_disk(fleet, at):
    """Puts the data of a member, which is started again, on a disk of its own."""
    data = os.path.join(fleet.directory, f"member-{at + 1}")
    fleet.kill(at)
    os.rename(data, f"{data}.large")
    os.mkdir(data, 0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=700", "tmpfs", data], check=True)
    try:
        shutil.copytree(f"{data}.large", data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        fleet.start(at)
        yield data
    finally:
        fleet.kill(at)
        subprocess.run(["umount", data], check=True)
        shutil.rmtree(f"{data}.large")


def free(data):
    stat = os.statvfs(data)
    return stat.f_bavail * stat.f_frsize


def fill(data, left):
    """Takes all space but so many bytes, and gives the file that does."""
    path = os.path.join(data, "ballast")
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(data) - left)
    return path


def lines(fleet, at, before, *words):
    return [line for line in log_from(fleet, at, before).splitlines() if all(word in line for word in words)]


@case(members=1, flags=("--min-free-disk", "auto"))
def a_small_disk_has_a_small_reserve(fleet):
    """A server on a disk of 64 MiB takes writes until a tenth of it is left. Then it refuses them, still takes removals, says so, and
    goes on by itself when there is room."""
    server = Server(fleet.addresses[0])
    with small_disk(fleet, 0) as data:
        for n in range(2):
            assert server.publish(f"c-{n}", "x" * 1_000).status == 200
        assert metrics(fleet, 0)["dyad_disk_reserve_bytes"] == RESERVE
        before = log_size(fleet, 0)
        ballast = fill(data, RESERVE - MIB)
        until("it is noticed", lambda: metrics(fleet, 0)["dyad_disk_refuses_writes"] == 1, NOTICED_SECONDS)
        assert metrics(fleet, 0)["dyad_disk_refuses_entries"] == 0
        refused = server.publish("c-2", "x")
        assert refused.status == 503 and "are free on this disk" in refused.text, refused
        removed = server.call("DELETE", "/v1/cs/configs", {"dataId": "c-0", "group": "G"})
        assert removed.status == 200 and server.get("c-0").status == 404, removed
        assert server.get("c-1").status == 200
        told = until("it is told", lambda: lines(fleet, 0, before, "the reserve of this member's disk is reached"), NOTICED_SECONDS)
        assert len(told) == 1 and "WARN" in told[0], told
        shown = status(fleet, 0)
        assert shown["raft"]["disk"]["room"] == "no writes", shown["raft"]["disk"]
        assert not shown["healthy"] and "reserve of this member's disk" in shown["headline"], shown["headline"]
        os.remove(ballast)
        until("it goes on", lambda: server.publish("c-2", "x").status == 200, NOTICED_SECONDS)
        until("it is told", lambda: lines(fleet, 0, before, "INFO", "has its reserve again"), NOTICED_SECONDS)
        wrong = lines(fleet, 0, before, "WARN")
        assert len(wrong) == 1, wrong


@case(members=3, flags=("--min-free-disk", "auto"))
def a_follower_whose_disk_is_full_falls_behind_in_order(fleet):
    """A follower with a nearly full disk takes no entries and says so, and so does the leader. Writes go on, nobody is elected, and
    the follower does not end. With room it catches up."""
    leader = leader_of(fleet)
    follower = (leader + 1) % 3
    server = Server(fleet.addresses[leader])
    with small_disk(fleet, follower) as data:
        assert leader_of(fleet) == leader
        identity = member_id(fleet, follower)
        name = f"member {fleet.addresses[follower]} ({identity})"
        shown = f'dyad_raft_member_refuses_entries{{member="{identity}"}}'
        before = [log_size(fleet, at) for at in range(3)]
        assert server.publish("before", "x").status == 200
        ballast = fill(data, RESERVE // 8)
        until("it is noticed", lambda: metrics(fleet, follower)["dyad_disk_refuses_entries"] == 1, NOTICED_SECONDS)
        until("the leader knows", lambda: metrics(fleet, leader).get(shown) == 1, NOTICED_SECONDS)
        term, at_first = metrics(fleet, leader)["dyad_raft_term"], metrics(fleet, follower)["dyad_raft_last_index"]
        ended, n = time.monotonic() + QUIET_SECONDS, 0
        while time.monotonic() < ended:
            answer = server.publish(f"c-{n}", "x" * 20_000)
            assert answer.status == 200, answer
            n += 1
            time.sleep(PAUSE_SECONDS)
        assert n > 20, f"only {n} writes in {QUIET_SECONDS} s"
        now = metrics(fleet, follower)
        assert now["dyad_raft_last_index"] <= at_first + 5, "it took entries"
        assert now["dyad_raft_has_leader"] == 1 and now["dyad_raft_term"] == term, "it hears the leader"
        assert metrics(fleet, leader)["dyad_raft_is_leader"] == 1 and metrics(fleet, leader)["dyad_raft_term"] == term
        assert fleet.running[follower].poll() is None, fleet.log(follower)
        refused = Server(fleet.addresses[follower]).publish("here", "x")
        assert refused.status == 503 and "takes no entries of the log" in refused.text, refused
        said = status(fleet, leader)
        assert said["raft"]["disk"]["refusing_members"] == [identity], said
        assert not said["healthy"] and name in said["headline"], said["headline"]
        until("it is told", lambda: lines(fleet, follower, before[follower], "WARN", "takes no entries of the log"), NOTICED_SECONDS)
        told = lines(fleet, leader, before[leader], "WARN")
        assert len(told) == 1 and f"the disk of {name} is nearly full" in told[0], told
        os.remove(ballast)
        last = metrics(fleet, leader)["dyad_raft_last_index"]
        until("it catches up", lambda: metrics(fleet, follower)["dyad_raft_applied_index"] >= last, 20)
        assert Server(fleet.addresses[follower]).get(f"c-{n - 1}").status == 200
        told = until("it is told", lambda: lines(fleet, leader, before[leader], "INFO", f"{name} takes entries of the log again"), 10)
        assert len(told) == 1, told
        assert metrics(fleet, leader)["dyad_raft_term"] == term


@case(members=3, flags=("--min-free-disk", "auto"))
def a_leader_whose_disk_is_full_lets_another_member_lead(fleet):
    """A leader whose disk has reached its reserve hands over to a member with room, so that writes are taken through every member."""
    with small_disk(fleet, 0) as data:
        data_dir = os.path.join(fleet.directory, "member-1")
        until("the member is ready to lead", lambda: status(fleet, 0)["healthy"], 20)
        if leader_of(fleet) != 0:
            handed = subprocess.run(
                [fleet.binary, "cluster", "transfer-leader", fleet.addresses[0], "--data-dir", data_dir], capture_output=True, text=True,
                check=False, timeout=20,
            )
            assert handed.returncode == 0, handed
        assert until("it leads", lambda: leader_of(fleet) == 0 or None, 10)
        before = log_size(fleet, 0)
        ballast = fill(data, RESERVE - MIB)
        until("another member leads", lambda: metrics(fleet, 0)["dyad_raft_is_leader"] == 0, NOTICED_SECONDS + 5)
        for at in range(3):
            until(f"member {at + 1} takes writes", lambda at=at: Server(fleet.addresses[at]).publish(f"c-{at}", "x").status == 200, 5)
        told = lines(fleet, 0, before, "is asked to lead")
        assert len(told) == 1, told
        term = metrics(fleet, 0)["dyad_raft_term"]
        time.sleep(QUIET_SECONDS)
        assert metrics(fleet, 0)["dyad_raft_term"] == term, "the leadership is passed around"
        os.remove(ballast)
