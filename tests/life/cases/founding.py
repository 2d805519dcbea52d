"""How servers become members: founded alone and grown, two that were founded alone under one list, moved addresses."""

import re
import time

from kit import SOON, case, holds_for, leader_of, until, wait_same, written


def register(server, port):
    server.request("POST", "/nacos/v1/ns/instance", serviceName="s", ip="10.0.0.1", port=port, ephemeral="false")


@case
def a_server_that_was_founded_alone_gets_members(world):
    """It had no address for others. It gets one with its list, and the others join it with all that it has."""
    founder, second, third = world.server(), world.server(), world.server()
    founder.start(token=False)
    for n in range(20):
        founder.publish(f"c-{n}", f"c-{n}")
    register(founder, 1)
    assert founder.stop() == 0
    members = [founder, second, third]
    for one in members:
        one.start(members, wait=False)
    for one in members:
        one.ready()
    addresses = sorted(one.address for one in members)
    for one in members:
        until(f"{one.name} knows three voters", lambda one=one: one.voters() == addresses, SOON)
        wait_same(one, 20)
    # The founder goes, and comes back.
    founder.kill()
    written(second, "c-20", "c-20")
    founder.start(members)
    for one in members:
        wait_same(one, 21)
        until(f"{one.name} knows three voters", lambda one=one: one.voters() == addresses, SOON)
    leader_of(members)


@case
def a_running_server_grows_without_a_restart(world):
    """1 -> 3 members by commands; the founder was started with an address and a token, and with no list."""
    founder, second, third = world.server(), world.server(), world.server()
    founder.start()
    founder.publish("c-0", "c-0")
    second.start([founder, second], wait=False)
    third.start([founder, third], wait=False)
    for one in (second, third):
        done = founder.cli("cluster", "add", one.address)
        assert f"at {one.address} is a member" in done, done
        one.ready()
        wait_same(one, 1)
    addresses = sorted(one.address for one in (founder, second, third))
    for one in (founder, second, third):
        until(f"{one.name} knows three voters", lambda one=one: one.voters() == addresses, SOON)
    founder.kill()
    written(second, "c-1", "c-1")
    founder.start(wait=False)
    wait_same(founder, 2)


@case
def two_clusters_behind_one_list(world):
    """Two servers that were founded alone get one list: neither takes a write, and each says why, until they agree."""
    first, second = world.server(), world.server()
    for one in (first, second):
        one.start()
        one.publish("x", one.name)
        assert one.stop() == 0
    members = [first, second]
    for one in members:
        one.start(members, wait=False)
    for one in members:
        until(
            f"{one.name} refuses writes and says why",
            lambda one=one: re.search(
                r"belongs to cluster [0-9a-f]{32}, and .* belongs to cluster [0-9a-f]{32}.*dyad recover --discard",
                one.refused("POST", "/nacos/v1/cs/configs", dataId="y", group="G", content="y").body,
            ),
            SOON,
        )
        assert one.refused("POST", "/nacos/v1/cs/configs", dataId="y", group="G", content="y").status == 503
        assert one.refused("GET", "/nacos/v1/cs/configs", dataId="x", group="G", consistent="true").status == 503
        answer = one.refused("GET", "/nacos/v1/console/health/readiness")
        assert answer.status == 500 and "belongs to cluster" in answer.body, answer
    holds_for(
        "no write is taken",
        lambda: all(
            one.refused("POST", "/nacos/v1/cs/configs", dataId="y", group="G", content="y").status == 503 for one in members
        ),
        2,
    )
    first.request("POST", "/nacos/v1/ns/instance", serviceName="s", ip="10.0.0.1", port=1, ephemeral="true")
    holds_for("instances are not told across", lambda: "10.0.0.1" not in second.get(
        "/nacos/v1/ns/instance/list", serviceName="s"), 2)
    # As the message says: the data of one are given up.
    second.stop()
    second.cli("recover", "--discard", "--i-have-a-backup")
    second.start(members)
    first.ready()
    written(second, "y", "y")
    assert first.read("x") == first.name and second.read("x") == first.name


@case
def one_foreign_server_does_not_stop_a_cluster(world):
    """Two of three members agree, and the third was founded alone: the two go on, the third refuses."""
    first, second = world.cluster(2)
    first.publish("c-0", "c-0")
    third = world.server()
    third.start()
    third.stop()
    members = [first, second, third]
    for one in (first, second):
        one.stop()
    for one in members:
        one.start(members, wait=False)
    for one in (first, second):
        one.ready()
    written(first, "c-1", "c-1")
    until("the third refuses", lambda: third.refused(
        "POST", "/nacos/v1/cs/configs", dataId="y", group="G", content="y").status == 503, SOON)
    written(second, "c-2", "c-2")
    wait_same(first, 3)


@case
def an_empty_founder_without_a_list_does_not_stop_the_others(world):
    """The founder had no list, and the others have one of the founder and themselves. It loses its disk and founds another cluster: the
    others are a majority of the members that they know, and go on. With a list it joins them."""
    founder, second, third = world.server(), world.server(), world.server()
    founder.start()
    for one in (second, third):
        one.start([founder, one], wait=False)
        founder.cli("cluster", "add", one.address)
        one.ready()
    written(founder, "c-0", "c-0")
    founder.kill()
    founder.empty()
    written(second, "c-1", "c-1")
    founder.start()
    for n, one in enumerate((second, third) * 3):
        time.sleep(1)
        written(one, f"d-{n}", f"d-{n}", 5)
        assert one.read("c-0", consistent="true") == "c-0"
    founder.kill()
    founder.empty()
    founder.start([founder, second])
    for one in (founder, second, third):
        until(f"{one.name} knows three voters", lambda one=one: len(one.voters()) == 3, SOON)
        wait_same(one, 2)


@case
def a_member_moves_to_another_address(world):
    """A member comes back at another address, whose list the others do not have: they dial the new one without a restart."""
    from common import servers

    members = world.cluster(3)
    mover = members[0]
    written(mover, "c-0", "c-0")
    old = mover.address
    mover.stop()
    mover.address = f"127.0.0.1:{servers.free_ports(1)[0]}"
    mover.start(members)
    addresses = sorted(one.address for one in members)
    for one in members:
        until(f"{one.name} knows the new address", lambda one=one: one.voters() == addresses, SOON)
    # With one of the others gone, nothing is written without the member that moved.
    members[1].kill()
    written(members[2], "c-1", "c-1")
    wait_same(mover, 2)
    until(
        "the list of members has the new address only",
        lambda: old not in (listed := members[2].get("/nacos/v1/core/cluster/nodes")) and mover.address in listed,
        SOON,
    )
