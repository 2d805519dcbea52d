"""gRPC: messages that are never finished, answers and pushes that are never read."""

import asyncio
import http.client
import json

from kit.http2 import STREAM, UNARY, message, promised
from kit.row import Row, row
from rows.bodies import CONTENT, SMALL

WHOLE = 10 * 1024 * 1024 - 4096
HALF = WHOLE // 2
NEARLY = WHOLE - 100_000
FILLER = memoryview(bytes(WHOLE))
# A connection is one of an address with this many.
CONNECTIONS_OF_ADDRESS = 4


async def unfinished(field, client, path, kind, size):
    """One message of which `size` bytes are sent; ends when the server will not have it, or with the time."""
    number = client.begin(path)
    stream = client.streams[number]

    async def send():
        begin = promised(kind, WHOLE)
        for piece in (begin, FILLER[:size - len(begin)]):
            await client.send(number, piece)
        if not stream.over:
            field.count("sent as far as meant")
        await client.answer(number)

    field.count("messages")
    with field.holds():
        await field.first(send())
        field.count("bytes", stream.sent)
        if stream.over:
            field.count(f"messages {stream.over}")
    client.streams.pop(number, None)


class Halves(Row):
    """200 connections, each of a registered client, with one request of 10 MB of which half was sent."""

    path = UNARY
    proof = {"connections": 200, "messages": 200}

    async def attack(self, field):
        async def one(number):
            client = await field.client(number // CONNECTIONS_OF_ADDRESS)
            if client:
                while not client.gone and field.left > 0:
                    await unfinished(field, client, self.path, "ConfigPublishRequest", HALF)
                    await asyncio.sleep(max(0, min(1, field.left)))
                client.close()

        await field.crowd(200, one)


@row
class HalfCalls(Halves):
    name = "calls"
    title = "200 gRPC connections with half of a call of 10 MB"
    path = UNARY


@row
class HalfStreams(Halves):
    name = "streams"
    title = "200 gRPC connections with half of a message of 10 MB on a stream"
    path = STREAM


class Many(Row):
    """One connection with 150 messages, each unfinished."""

    path = UNARY
    proof = {"messages": 150}

    async def attack(self, field):
        client = await field.client()

        async def one(_number):
            nonlocal client
            if client is None or client.gone:
                client = await field.client()
                return
            await unfinished(field, client, self.path, "ConfigPublishRequest", NEARLY)

        await field.crowd(150, one)


@row
class ManyStreams(Many):
    name = "H3-streams"
    title = "one gRPC connection with 150 streams of unfinished messages of 10 MiB"
    path = STREAM


@row
class ManyCalls(Many):
    name = "H3-calls"
    title = "one gRPC connection with 150 unfinished calls of 10 MiB"


@row
class ClosedWindow(Row):
    name = "H3-window"
    title = "four gRPC connections with 150 queries of a content of 10 MiB each, and a window of 0"
    proof = {"queries": 600}

    def prepare(self, scene):
        answer = scene.server.publish("large", CONTENT)
        assert answer.status == 200, answer

    async def attack(self, field):
        query = message("ConfigQueryRequest", {"dataId": "large", "group": "G", "tenant": ""})
        clients = {}

        async def connect(number):
            # The setup is answered before the window is closed: by the settings of a stream that is opened later.
            client = await field.client(number, register=False, window=0)
            stream = client.begin(STREAM)
            await client.send(stream, message("ConnectionSetupRequest", {"labels": {"source": "sdk"}}))
            await asyncio.sleep(0.2)
            return client

        async def one(number):
            at = number % 4
            if at not in clients or (clients[at].done() and (clients[at].exception() or clients[at].result().gone)):
                clients[at] = asyncio.ensure_future(connect(at))
            client = await asyncio.shield(clients[at])
            if client.gone:
                return
            stream = client.begin()
            with field.holds():
                await client.send(stream, query, end=True)
                field.count("queries")
                await field.first(client.answer(stream))
                if client.streams[stream].over:
                    field.count(f"queries {client.streams[stream].over}")

        await field.crowd(600, one)


@row
class Subscribers(Row):
    name = "H3-subscribers"
    title = "100 subscribers of a service with a list of 8 MB that changes all the time, who read nothing"
    proof = {"connections": 100, "changes": 20}
    service = "large"

    def prepare(self, scene):
        """Instances whose beats are not missed for ten minutes, with as much metadata as one may have."""
        metadata = json.dumps({
            "preserved.heart.beat.timeout": "600000", "preserved.ip.delete.timeout": "600000", "k": "中" * 900,
        }, ensure_ascii=False)
        for number in range(2_500):
            answer = scene.server.register(self.service, f"10.0.{number // 250}.{number % 250}", 80, metadata=metadata)
            assert answer.status == 200, answer

    async def attack(self, field):
        subscribe = {
            "namespace": "public", "serviceName": self.service, "groupName": "DEFAULT_GROUP", "clusters": "",
            "subscribe": True,
        }

        async def one(number):
            client = await field.client(number, receive_buffer=SMALL)
            if client is None:
                return
            call = client.begin()
            with field.holds():
                await client.send(call, message("SubscribeServiceRequest", subscribe), end=True)
                client.stop_reading()
                # The end is not noticed by who does not read.
                await field.first(asyncio.sleep(max(0, field.left)))
            client.close()

        async def change():
            number = 0
            while field.left > 0:
                number += 1
                await asyncio.to_thread(self.touch, field, number)
                field.count("changes")
                await asyncio.sleep(0.25)

        changing = asyncio.create_task(change())
        await field.crowd(100, one)
        await changing

    def touch(self, field, number):
        connection = http.client.HTTPConnection(*field.http, timeout=5, source_address=field.source(200))
        connection.request("POST", f"/nacos/v1/ns/instance?serviceName={self.service}&ip=10.1.0.{number % 200}&port=80")
        connection.getresponse().read()
        connection.close()
