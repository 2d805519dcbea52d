"""Idle clients that hold every descriptor there is."""

import asyncio
import os
import time

from common.servers import until
from common.web import Server
from kit.http2 import Http2, accepted
from kit.row import Row, row

FILES = 256
CLIENTS = 300
# A snapshot is made after so many entries at the latest.
ENTRIES = 52_000
CLUSTER_PORT_ABOVE = 1001
# What a member that is only refused work to may take, looked at for so long.
PROCESSOR_SHARE = 0.5
LOOK_SECONDS = 5
AT_ONCE = 300
READY_SECONDS = 10
# Who is refused is back before another client is.
AGAIN_SECONDS = 0.2


class Idle(Row):
    files = FILES
    proof = {"connections": CLIENTS}

    async def attack(self, field):
        """From one address, half on each port; who is refused dials again."""

        async def one(number):
            if number % 2:
                client = await Http2.open(field.sdk, field.source(0))
                field.count("connections")
                with field.holds():
                    while not client.gone and field.left > 0:
                        await asyncio.sleep(0.1)
                client.close()
                return
            with await field.open(0) as raw, field.holds():
                await field.hold(raw)

        await field.crowd(CLIENTS, one, AGAIN_SECONDS)


@row
class Descriptors(Idle):
    name = "H4"
    title = "300 idle clients, 256 descriptors: writes and a snapshot meanwhile"
    seconds = 40

    def during(self, scene):
        answer = scene.server.publish("while-full", "a")
        scene.expect(answer.status == 200, f"a publish meanwhile: {answer}")
        snapshots = os.path.join(scene.data, "snapshots")
        before = set(os.listdir(snapshots))
        refused = asyncio.run(self.write(scene))
        scene.expect(not refused, f"{refused} of {ENTRIES} persistent writes were refused")
        scene.expect(scene.process.poll() is None, f"the server ended with {scene.process.poll()}")
        try:
            until("a snapshot was made", lambda: set(os.listdir(snapshots)) - before, 10)
        except AssertionError as error:
            scene.expect(False, str(error))
        scene.expect(scene.process.poll() is None, f"the server ended with {scene.process.poll()}")

    @staticmethod
    async def write(scene):
        """Registers and deregisters one persistent instance in turn; how many were refused."""
        client = await Http2.open((scene.server.host, scene.server.port + 1000))
        if not await client.register():
            return ENTRIES
        left, refused = iter(range(ENTRIES)), 0

        async def some(port):
            nonlocal refused
            for number in left:
                answer = await client.call("PersistentInstanceRequest", {
                    "namespace": "public", "serviceName": "written", "groupName": "G",
                    "type": "deregisterInstance" if number % 2 else "registerInstance",
                    "instance": {"ip": "127.0.0.1", "port": 1 + port, "ephemeral": False},
                })
                refused += not accepted(answer)

        await asyncio.gather(*(some(port) for port in range(AT_ONCE)))
        client.close()
        return refused


class Cluster(Idle):
    """Three members, of which the first is attacked: the others go on with it."""

    members = 3
    seconds = 30

    def during(self, scene):
        self.written(scene, "meanwhile")
        scene.fleet.kill(2)
        began = time.monotonic()
        scene.fleet.start(2)
        took = time.monotonic() - began
        scene.expect(took <= READY_SECONDS, f"another member was ready {took:.1f} s after its start")
        scene.note(f"another member was ready {took:.1f} s after its start")
        self.written(scene, "after the restart of another member")
        cpu = processor_seconds(scene.process.pid)
        time.sleep(LOOK_SECONDS)
        share = (processor_seconds(scene.process.pid) - cpu) / LOOK_SECONDS
        scene.expect(share <= PROCESSOR_SHARE, f"the attacked member takes {share:.0%} of a processor")

    @staticmethod
    def written(scene, when):
        for address in scene.fleet.addresses:
            answer = Server(address).publish("written", "a")
            scene.expect(answer.status == 200, f"a publish at {address} {when}: {answer}")


@row
class ClusterClients(Cluster):
    name = "H4-cluster"
    title = "300 idle clients of one of three members, 256 descriptors; another member is killed and started again"


@row
class ClusterPort(Cluster):
    name = "H4-cluster-port"
    title = "300 idle connections to the cluster port of one of three members"

    async def attack(self, field):
        field.http = (field.http[0], field.http[1] + CLUSTER_PORT_ABOVE)

        async def one(_number):
            with await field.open(0) as raw, field.holds():
                await field.hold(raw)

        await field.crowd(CLIENTS, one, AGAIN_SECONDS)


def processor_seconds(pid):
    """What a process has used of the processors."""
    with open(f"/proc/{pid}/stat") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@row
class Restart(Idle):
    name = "H4-restart"
    title = "the same, and the server is killed and started again"
    goes_on = False
    seconds = 25

    def during(self, scene):
        scene.fleet.kill(0)
        began = time.monotonic()
        scene.fleet.start(0)
        took = time.monotonic() - began
        scene.expect(took <= READY_SECONDS, f"ready after {took:.1f} s")
        scene.note(f"ready after {took:.1f} s")
        answer = scene.server.publish("after-restart", "a")
        scene.expect(answer.status == 200, f"a publish after the restart: {answer}")
