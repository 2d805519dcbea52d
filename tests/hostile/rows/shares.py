"""One client that uses up what all share."""

import asyncio
import contextlib
import json
import socket
import threading
import time

from common.servers import until
from kit.field import head
from kit.http2 import Http2, accepted
from kit.row import Row, row

# What others wait for.
NOTICED_SECONDS = 5
TOLD_SECONDS = 1
AT_ONCE = 400


async def client_of(scene):
    client = await Http2.open((scene.server.host, scene.server.port + 1000))
    return client if await client.register() else None


async def many(client, field, count, kind, request, counted):
    """Sends so many requests, some of them at a time; counts what was accepted, refused, and said of it."""
    numbers = iter(range(count))

    async def some():
        for number in numbers:
            if field.left <= 0 or client.gone:
                return
            answer = await client.call(kind, request(number))
            if accepted(answer):
                field.count(counted)
                continue
            field.count("refused")
            if answer:
                field.facts["saying"] = json.loads(answer[1]).get("message")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


@row
class Probes(Row):
    name = "M4"
    title = "20,000 persistent instances of one client that nobody answers for; another's dies"
    seconds = 60
    count = 20_000
    proof = {"registered": 20_000}

    def prepare(self, scene):
        """The other's is alive, and seen to be."""
        self.alive = socket.create_server(("127.0.0.1", 0))
        self.port = self.alive.getsockname()[1]
        self.stop = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()
        answer = scene.server.register("watched", "127.0.0.1", self.port, ephemeral="false", namespaceId="other")
        assert answer.status == 200, answer
        until("the other's instance is healthy", lambda: self.healthy(scene), 20)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.alive.accept()[0].close()

    @staticmethod
    def healthy(scene):
        hosts = scene.server.hosts("watched", namespaceId="other")
        return bool(hosts) and hosts[0]["healthy"]

    async def attack(self, field):
        client = await field.client()
        await many(client, field, self.count, "PersistentInstanceRequest", lambda number: {
            "namespace": "public", "serviceName": f"dead-{number % 100}", "groupName": "G", "type": "registerInstance",
            "instance": {"ip": f"127.77.{number // 250}.{number % 250 + 1}", "port": 1, "ephemeral": False},
        }, "registered")
        await asyncio.sleep(max(0, field.left))

    def during(self, scene):
        # The probes of all have begun.
        time.sleep(3)
        began = time.monotonic()
        # Wakes the thread that accepts, which would go on otherwise.
        self.alive.shutdown(socket.SHUT_RDWR)
        self.alive.close()
        with contextlib.suppress(AssertionError):
            until("noticed", lambda: not self.healthy(scene), scene.row.seconds - 15)
        took = time.monotonic() - began
        scene.expect(took <= NOTICED_SECONDS, f"the death of another's instance was noticed after {took:.1f} s")
        scene.note(f"another's dead instance was noticed after {took:.1f} s")


@row
class Polls(Row):
    name = "M5-polls"
    title = "100 long polls of 10,000 names from one address; another client listens"
    proof = {"polls": 100}

    async def attack(self, field):
        names = "".join(f"d{number}%02G%02%01" for number in range(10_000))
        body = f"Listening-Configs={names}".encode()
        request = head(
            "POST", "/v1/cs/configs/listener", len(body), Long_Pulling_Timeout="60000",
            Content_Type="application/x-www-form-urlencoded",
        ) + body

        async def one(_number):
            with await field.open(0) as raw, field.holds():
                await field.send(raw, request)
                field.count("polls")
                await field.hold(raw)

        await field.crowd(100, one)

    def during(self, scene):
        time.sleep(2)
        listening = threading.Thread(target=self.listen, args=(scene,))
        listening.start()
        time.sleep(1)
        answer = scene.server.publish("told", "a")
        scene.expect(answer.status == 200, f"a publish meanwhile: {answer}")
        published = time.monotonic()
        listening.join()
        took = self.told - published
        scene.expect("told" in self.answer.text, f"another's long poll: {self.answer}")
        scene.expect(took <= TOLD_SECONDS, f"another listener was told after {took:.2f} s")
        client_told = asyncio.run(self.listen_by_grpc(scene))
        scene.expect(client_told == "", f"a listener by gRPC: {client_told}")

    def listen(self, scene):
        self.answer = scene.server.call(
            "POST", "/v1/cs/configs/listener", body="Listening-Configs=told%02G%02%01",
            headers={"Long-Pulling-Timeout": "10000", "Content-Type": "application/x-www-form-urlencoded"},
        )
        self.told = time.monotonic()

    @staticmethod
    async def listen_by_grpc(scene):
        client = await client_of(scene)
        if client is None:
            return "the setup was refused"
        answer = await client.call("ConfigBatchListenRequest", {
            "listen": True, "configListenContexts": [{"dataId": "told", "group": "G", "tenant": "", "md5": ""}],
        })
        client.close()
        return "" if accepted(answer) else f"{answer}"[:200]


@row
class Patterns(Row):
    name = "M5-patterns"
    title = "one client with 20 patterns of services and 20 of configurations; another watches one of its own"
    seconds = 8
    proof = {"watched": 20}

    async def attack(self, field):
        client = await field.client()
        for number in range(30):
            for kind in ("NamingFuzzyWatchRequest", "ConfigFuzzyWatchRequest"):
                answer = await client.call(kind, {
                    "groupKeyPattern": f"public>>G>>own-{number}*", "watchType": "WATCH", "initializing": True,
                    "receivedGroupKeys": [],
                })
                field.count("watched" if accepted(answer) else "refused")
        await asyncio.sleep(max(0, field.left))

    def during(self, scene):
        time.sleep(1)
        for kind, answer in asyncio.run(self.watch(scene)):
            scene.expect(accepted(answer), f"another's {kind}: {answer}"[:300])

    @staticmethod
    async def watch(scene):
        client = await client_of(scene)
        answers = [(kind, await client.call(kind, {
            "groupKeyPattern": "public>>G>>another*", "watchType": "WATCH", "initializing": True, "receivedGroupKeys": [],
        })) for kind in ("NamingFuzzyWatchRequest", "ConfigFuzzyWatchRequest")]
        client.close()
        return answers


@row
class Services(Row):
    name = "M5-services"
    title = "one client registers 101,000 services, more than there may be; another registers a new one"
    seconds = 60
    proof = {"asked": 101_000}

    async def attack(self, field):
        client = await field.client()
        await many(client, field, 101_000, "InstanceRequest", lambda number: {
            "namespace": "public", "serviceName": f"taken-{number}", "groupName": "G", "type": "registerInstance",
            "instance": {"ip": "10.0.0.1", "port": 80},
        }, "registered")
        field.count("asked", 101_000)
        await asyncio.sleep(max(0, field.left))

    def during(self, scene):
        until("there is no room for more of that client", lambda: scene.facts.get("asked"), self.seconds - 15)
        answer = scene.server.register("another", "10.0.0.2", 80)
        scene.expect(answer.status == 200, f"another's new service: {answer}")


@row
class Idle(Row):
    name = "M5-idle"
    title = "16,384 idle connections from one address"
    seconds = 30
    proof = {"connections": 16_384}

    async def attack(self, field):
        held = []
        for number in range(16_384):
            try:
                held.append(await field.open(0))
            except OSError as error:
                field.count(type(error).__name__)
            field.most("held", len(held))
            if number % 200 == 0:
                await asyncio.sleep(0.01)
            if field.left <= 0:
                break
        field.say()
        await asyncio.sleep(max(0, field.left))


@row
class Subscriptions(Row):
    name = "M6"
    title = "30 connections from 30 addresses with 20,000 subscriptions each; another client subscribes"
    seconds = 60
    proof = {"asked": 100_000}

    async def attack(self, field):
        async def one(number):
            client = await field.client(number)
            if client is None:
                return
            await many(client, field, 20_000, "SubscribeServiceRequest", lambda each: {
                "namespace": "public", "serviceName": f"s-{number}-{each}", "groupName": "G", "clusters": "",
                "subscribe": True,
            }, "subscribed")
            await asyncio.sleep(max(0, field.left))
            client.close()

        async def ask():
            while field.left > 0:
                field.most("asked", field.facts.get("subscribed", 0) + field.facts.get("refused", 0))
                await asyncio.sleep(0.2)

        asking = asyncio.create_task(ask())
        await asyncio.gather(*(one(number) for number in range(30)))
        asking.cancel()

    def during(self, scene):
        answer = asyncio.run(self.subscribe(scene))
        scene.expect(accepted(answer), f"another's subscription: {answer}"[:300])

    @staticmethod
    async def subscribe(scene):
        client = await client_of(scene)
        answer = await client.call("SubscribeServiceRequest", {
            "namespace": "public", "serviceName": "another", "groupName": "G", "clusters": "", "subscribe": True,
        })
        client.close()
        return answer
