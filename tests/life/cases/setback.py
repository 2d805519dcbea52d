"""A member's disk is set back to an older copy, or copied: it is noticed before the member answers or votes."""

import shutil
import time

from kit import SOON, case, holds_for, leader_of, same, until, wait_same, written

OLDER = 40
NEWER = 60


def set_back(world, copy_while_running, kill):
    members = world.cluster(3)
    leader = leader_of(members)
    victim = next(one for one in members if one is not leader)
    for n in range(OLDER):
        written(leader, f"c-{n}", f"c-{n}")
    if copy_while_running:
        copy = victim.copy("copy")
    else:
        victim.stop()
        copy = victim.copy("copy")
        victim.start(members)
    for n in range(OLDER, NEWER):
        written(leader, f"c-{n}", f"c-{n}")
    wait_same(victim, NEWER)
    # What members have on their disks they tell each other once a second.
    time.sleep(2)
    if kill:
        victim.kill()
    else:
        victim.stop()
    victim.put_back(copy)
    return members, leader, victim


def refuses(victim, members):
    """It ends with code 4 and says what to do, again and again, and never voted or answered."""
    for _ in range(2):
        victim.start(members, wait=False)
        code = victim.ended()
        log = victim.log()
        assert code == 4, f"{code}: {log}"
        assert "older copy" in log, log
        assert "dyad recover --discard" in log, log


@case
def an_older_copy_of_a_followers_data_is_noticed(world):
    members, leader, victim = set_back(world, copy_while_running=True, kill=True)
    refuses(victim, members)
    written(leader, f"c-{NEWER}", f"c-{NEWER}")
    victim.cli("recover", "--discard", "--members", ",".join(one.address for one in members))
    victim.start(members)
    wait_same(victim, NEWER + 1)
    until("three voters", lambda: len(leader.voters()) == 3, SOON)


@case
def a_copy_of_a_stopped_followers_data_is_noticed(world):
    members, leader, victim = set_back(world, copy_while_running=False, kill=False)
    refuses(victim, members)
    written(leader, f"c-{NEWER}", f"c-{NEWER}")


@case
def an_older_copy_is_noticed_by_whoever_is_left(world):
    """The leader dies with the follower that is set back: the third member has seen more of it, and nothing is lost."""
    members, leader, victim = set_back(world, copy_while_running=True, kill=True)
    third = next(one for one in members if one not in (leader, victim))
    leader.kill()
    refuses(victim, members)
    leader.start(members)
    wait_same(third, NEWER)
    wait_same(leader, NEWER)


@case
def an_older_copy_of_the_leaders_data_is_noticed(world):
    members = world.cluster(3)
    leader = leader_of(members)
    for n in range(OLDER):
        written(leader, f"c-{n}", f"c-{n}")
    copy = leader.copy("copy")
    for n in range(OLDER, NEWER):
        written(leader, f"c-{n}", f"c-{n}")
    time.sleep(2)
    leader.kill()
    leader.put_back(copy)
    refuses(leader, members)
    left = next(one for one in members if one is not leader)
    wait_same(left, NEWER)
    written(left, f"c-{NEWER}", f"c-{NEWER}")


@case
def a_copy_that_is_started_elsewhere_is_noticed(world):
    """Two servers run on copies of one data directory: the second one ends, and the first goes on."""
    members = world.cluster(3)
    written(members[0], "c-0", "c-0")
    twin = world.server()
    original = members[1]
    copy = original.copy("copy")
    shutil.copytree(copy, twin.data)
    twin.start([members[0], members[2], twin], wait=False)
    assert twin.ended() == 4, twin.log()
    assert original.address in twin.log() and "is a copy" in twin.log(), twin.log()
    holds_for("the original is a member", lambda: original.address in members[0].voters(), 2)
    written(original, "c-1", "c-1")


@case
def an_ordinary_restart_is_no_setback(world):
    """Kills at any moment under writes, also of all members, are no reason to refuse."""
    members = world.cluster(3)
    count = 0
    for round_ in range(6):
        for _ in range(10):
            written(members[count % 3], f"c-{count}", f"c-{count}")
            count += 1
        down = members if round_ % 3 == 2 else [members[round_ % 3]]
        for one in down:
            one.kill()
        for one in down:
            one.start(members, wait=False)
        for one in down:
            one.ready()
    for one in members:
        wait_same(one, count)


@case
def a_directory_that_is_deleted_under_the_leader(world):
    """It hands over, and ends with code 5; the others go on."""
    members = world.cluster(3)
    leader = leader_of(members)
    left = [one for one in members if one is not leader]
    written(left[0], "c-0", "c-0")
    leader.empty()
    assert leader.ended() == 5, leader.log()
    assert "was deleted or replaced" in leader.log(), leader.log()
    written(left[0], "c-1", "c-1", 5)
    leader.start(members)
    wait_same(leader, 2)


@case
def a_copy_of_a_member_that_has_moved_is_noticed(world):
    """The member runs at another address than its copy knows, so that the copy finds nobody at its own one."""
    members = world.cluster(3)
    written(members[0], "c-0", "c-0")
    original, others = members[1], [members[0], members[2]]
    original.stop()
    twin = world.server()
    shutil.copytree(original.data, twin.data)
    twin.address, original.address = original.address, twin.address
    original.start([others[0], original])
    until("the others know where it is", lambda: original.address in others[0].voters(), SOON)
    twin.start(others + [twin], wait=False)
    assert twin.ended() == 4, twin.log()
    assert "is a copy" in twin.log() or "older copy" in twin.log(), twin.log()
    holds_for("the original is a member", lambda: original.address in others[0].voters(), 2)
    written(original, "c-1", "c-1")


@case
def who_has_the_writes_that_two_older_copies_lack_is_not_accused(world):
    """Two of three members run on older copies while the third is restarted: they elect each other, which is a known limit. The third,
    which alone has the acknowledged writes, must be told to keep its directory."""
    members = world.cluster(3)
    leader = leader_of(members)
    followers = [one for one in members if one is not leader]
    for n in range(OLDER):
        written(leader, f"c-{n}", f"c-{n}")
    copies = [one.copy(f"copy-{n}") for n, one in enumerate(followers)]
    for n in range(OLDER, NEWER):
        written(leader, f"c-{n}", f"c-{n}")
    time.sleep(2)
    for one in members:
        one.kill()
    for one, copy in zip(followers, copies):
        one.put_back(copy)
    for one in followers:
        one.start(members, wait=False)
    leader.start(members, wait=False)
    # If the third one leads, it gives the others what they lack. If they were faster, it ends.
    def ended():
        return [one for one in members if one.process.poll() is not None]

    def whole():
        try:
            return all(same(one, NEWER) for one in members)
        except (OSError, AssertionError):
            return False

    until("it is decided", lambda: ended() or whole(), SOON)
    ended = ended()
    for one in ended:
        assert one.process.poll() == 4, one.log()
    if leader in ended:
        assert "Keep this directory" in leader.log() and "was set back" not in leader.log(), leader.log()
    else:
        assert all("older copy" in one.log() for one in ended), [one.log() for one in ended]
