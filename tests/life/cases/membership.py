"""Members are added, removed, replaced, given a vote or none, by commands on a running cluster."""

import json

from kit import SOON, case, holds_for, leader_of, until, wait_same, written


def knows(one, voters):
    addresses = sorted(voter.address for voter in voters)
    until(f"{one.name} knows the voters", lambda: one.voters() == addresses, SOON)


def says_removed(one):
    """The readiness check says it, and nothing is read from a state that is not followed any more."""
    answer = one.refused("GET", "/nacos/v1/console/health/readiness")
    return "removed" in answer.body and one.refused("GET", "/nacos/v1/cs/configs", dataId="c-0", group="G").status == 503


def listed(one):
    """The members as clients are told."""
    answer = json.loads(one.get("/nacos/v1/core/cluster/nodes"))
    return sorted(member["address"] for member in answer["data"])


@case
def a_removed_member_says_so_and_does_not_come_back(world):
    members = world.cluster(3)
    written(members[0], "c-0", "c-0")
    leader = leader_of(members)
    gone = next(one for one in members if one is not leader)
    left = [one for one in members if one is not gone]
    done = leader.cli("cluster", "remove", gone.address)
    assert "was removed" in done, done
    for one in left:
        knows(one, left)
        until(f"{one.name} lists two members", lambda one=one: listed(one) == sorted(m.address for m in left), SOON)
    until("it says so", lambda: says_removed(gone), SOON)
    assert gone.refused("GET", "/nacos/v1/console/health/readiness").status == 500
    assert gone.refused("GET", "/nacos/v1/ns/instance/list", serviceName="s").status == 503
    assert gone.refused("POST", "/nacos/v1/cs/configs", dataId="y", group="G", content="y").status == 503
    # Neither a restart nor an empty directory brings it back.
    for empty in (False, True):
        gone.stop()
        if empty:
            gone.empty()
        gone.start(members, wait=False)
        until("it says so again", lambda: says_removed(gone), SOON)
        holds_for("it stays out", lambda: leader.voters() == sorted(m.address for m in left), 3)
        assert listed(leader) == sorted(m.address for m in left)
    written(leader, "c-1", "c-1")
    leader.cli("cluster", "add", gone.address)
    gone.ready()
    wait_same(gone, 2)
    for one in members:
        knows(one, members)


@case
def a_removed_member_that_is_added_again_serves_clients(world):
    """Its clients were sent away when it was removed. It takes in clients again without a restart."""
    members = world.cluster(3)
    leader = leader_of(members)
    gone = next(one for one in members if one is not leader)

    def draining():
        return next(one["draining"] for one in gone.status()["members"] if one["address"] == gone.address)

    leader.cli("cluster", "remove", gone.address)
    until("it says so", lambda: "removed" in gone.status()["headline"], SOON)
    leader.cli("cluster", "add", gone.address)
    gone.ready()
    until("it takes in clients", lambda: not draining(), SOON)
    assert "clients are taken in again" in gone.log(20_000), gone.log()


@case
def a_removed_member_knows_it_when_nobody_answers(world):
    members = world.cluster(3)
    written(members[0], "c-0", "c-0")
    leader = leader_of(members)
    gone = next(one for one in members if one is not leader)
    left = [one for one in members if one is not gone]

    leader.cli("cluster", "remove", gone.address)
    until("it says so", lambda: says_removed(gone), SOON)
    for one in left:
        one.kill()
    holds_for("it says so without the others", lambda: says_removed(gone), 8)
    gone.stop()
    gone.start(members, wait=False)
    until("it says so after a restart", lambda: says_removed(gone), SOON)
    holds_for("it goes on to say so", lambda: says_removed(gone), 3)
    for one in left:
        one.start(members, wait=False)
    for one in left:
        one.ready()
    leader_of(left).cli("cluster", "add", gone.address)
    gone.ready()
    for one in members:
        knows(one, members)
    # What it knew of its removal is forgotten.
    for one in left:
        one.kill()
    gone.kill()
    gone.start(members, wait=False)
    until("it is a member that lacks the others", lambda: "removed" not in gone.refused(
        "GET", "/nacos/v1/console/health/readiness").body, SOON)
    holds_for("it stays one", lambda: "removed" not in gone.refused(
        "GET", "/nacos/v1/console/health/readiness").body, 3)


@case
def the_leader_is_removed(world):
    members = world.cluster(3)
    leader = leader_of(members)
    left = [one for one in members if one is not leader]
    written(left[0], "c-0", "c-0")
    leader.cli("cluster", "remove", leader.address)
    for one in left:
        knows(one, left)
    written(left[0], "c-1", "c-1", 5)
    wait_same(left[1], 2)


@case
def a_change_that_costs_the_majority_is_refused(world):
    members = world.cluster(3)
    leader = leader_of(members)
    followers = [one for one in members if one is not leader]
    followers[0].kill()
    # A dead one may go, a live one may not.
    refused = leader.cli("cluster", "remove", followers[1].address, code=1)
    assert "no majority" in refused and followers[0].address in refused, refused
    leader.cli("cluster", "demote", followers[1].address, code=1)
    leader.cli("cluster", "remove", leader.address, code=1)
    leader.cli("cluster", "remove", "10.9.9.9:1", code=1)
    leader.cli("cluster", "add", "127.0.0.1:9", code=1)
    leader.cli("cluster", "remove", followers[0].address)
    knows(leader, [leader, followers[1]])
    written(followers[1], "c-0", "c-0")


@case
def a_member_is_replaced_by_another_server(world):
    members = world.cluster(3)
    written(members[0], "c-0", "c-0")
    old = members[1]
    old.kill()
    new = world.server()
    left = [members[0], members[2]]
    new.start([*left, new], wait=False)
    # By itself it joined as a fourth; the old one goes all the same.
    members[0].cli("cluster", "replace", old.address, new.address)
    new.ready()
    wait_same(new, 1)
    for one in (*left, new):
        knows(one, [*left, new])
    written(new, "c-1", "c-1")
    assert old.address not in listed(new)


@case
def a_learner_serves_and_has_no_vote(world):
    members = world.cluster(3)
    learner = world.server()
    learner.start([*members, learner], flags=["--learner"])
    written(learner, "c-0", "c-0")
    wait_same(learner, 1)
    knows(learner, members)
    learner.request("POST", "/nacos/v1/ns/instance", serviceName="s", ip="10.0.0.1", port=1, ephemeral="true")
    until("its instance is seen elsewhere", lambda: "10.0.0.1" in members[0].get(
        "/nacos/v1/ns/instance/list", serviceName="s"), SOON)
    leader = leader_of(members)
    leader.cli("cluster", "transfer-leader", learner.address, code=1)
    leader.cli("cluster", "promote", learner.address)
    knows(leader, [*members, learner])
    leader.cli("cluster", "transfer-leader", learner.address)
    until("it leads", learner.leads, SOON)
    written(members[0], "c-1", "c-1")
    learner.cli("cluster", "demote", learner.address)
    knows(learner, members)
    # A learner stays one over a restart, whatever its settings say.
    learner.stop()
    learner.start([*members, learner])
    holds_for("it has no vote", lambda: learner.voters() == sorted(m.address for m in members), 2)
    wait_same(learner, 2)


@case
def one_to_three_to_five_and_back(world):
    members = [world.server()]
    members[0].start()
    count = 0

    def write():
        nonlocal count
        written(members[count % len(members)], f"c-{count}", f"c-{count}", 5)
        count += 1

    write()
    for _ in range(4):
        new = world.server()
        new.start([members[-1], new], wait=False)
        members[0].cli("cluster", "add", new.address)
        new.ready()
        assert "was removed" not in new.log(100_000), new.log(100_000)
        members.append(new)
        write()
    for one in members:
        knows(one, members)
        wait_same(one, count)
    while len(members) > 1:
        gone = members.pop(0)
        members[-1].cli("cluster", "remove", gone.address)
        write()
        for one in members:
            knows(one, members)
        gone.stop()
    wait_same(members[0], count)
    members[0].stop()
    members[0].start()
    wait_same(members[0], count)
    write()
