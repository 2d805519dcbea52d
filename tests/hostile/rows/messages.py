"""Small or legal input that becomes large: archives and JSON of empty things."""

import asyncio
import io
import json
import zipfile

from common.web import multipart, part
from kit.field import head
from kit.http2 import MESSAGE_MAX, accepted
from kit.row import Row, row

# Bytes of an answer that says no.
REFUSAL_MAX = 4096
INFLATED = 12_000_000


@row
class Archives(Row):
    name = "H2"
    title = "archives of 12 KB whose metadata inflates to 12 MB of a list, four at a time"
    proof = {"requests": 4}
    seconds = 15

    async def attack(self, field):
        requests = [self.request(name, begin) for name, begin in (
            (".metadata.yml", "metadata: ["), (".metadata.yml", "metadata:\n- dataId: ["), (".meta.yml", "a.b.app=["),
        )]
        field.most("bytes of the largest request", max(map(len, requests)))

        async def one(number):
            with await field.open(number) as raw:
                await field.send(raw, requests[field.facts["connections"] % len(requests)])
                field.count("requests")
                first = await field.first(field.answered(raw))
                if first:
                    field.count("answered")
                    field.count(f"answered {first[9:12].decode(errors='replace')}")

        await field.crowd(4, one)

    @staticmethod
    def request(name, begin):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("G/one.yml", "a: 1")
            archive.writestr(name, begin + "a," * ((INFLATED - len(begin)) // 2) + "a]")
        body, headers = multipart(part("file", file.getvalue(), "archive.zip", "application/zip"))
        kind = headers["Content-Type"]
        return head("POST", "/v1/cs/configs?import=true&namespace=", len(body), Content_Type=kind) + body


class Empties(Row):
    """Messages of nearly 10 MiB that are lists of things of two bytes, from four connections."""

    proof = {"begun": 4}
    seconds = 15
    kinds = ()

    async def attack(self, field):
        bodies = [(kind, self.body(fields, name, empty)) for kind, fields, name, empty in self.kinds]

        async def one(number):
            client = await field.client(number)
            while client and not client.gone and field.left > 0:
                kind, body = bodies[field.facts.get("messages", 0) % len(bodies)]
                before = client.sent
                field.count("begun")
                answer = await client.call(kind, body)
                field.count("messages")
                field.count("bytes", client.sent - before)
                if answer:
                    field.most("bytes of the largest answer", len(answer[1]))
                    if len(answer[1]) > MESSAGE_MAX:
                        field.count("answers over 10 MiB")
                    # An answer that is long lists what it took in.
                    if len(answer[1]) > REFUSAL_MAX or accepted(answer):
                        field.count("answered 200")
                else:
                    field.count("refused by the transport")
                await asyncio.sleep(max(0, min(0.2, field.left)))
            if client:
                client.close()

        await field.crowd(4, one)

    @staticmethod
    def body(fields, name, empty):
        begin = json.dumps(fields)[:-1].encode() + f',"{name}":['.encode()
        one = empty.encode() + b","
        room = MESSAGE_MAX - 4096 - len(begin)
        return begin + one * (room // len(one)) + empty.encode() + b"]}"

    def after(self, scene):
        over = scene.facts.get("answers over 10 MiB", 0)
        scene.expect(not over, f"{over} answers over 10 MiB")
        scene.expect(not scene.facts.get("answered 200"), "a list of empty things is answered with 200")


@row
class EmptyInstances(Empties):
    name = "H5-batch"
    title = "gRPC batches of three million empty instances, four at a time"
    kinds = ((
        "BatchInstanceRequest",
        {"namespace": "public", "serviceName": "empty", "groupName": "G", "type": "batchRegisterInstance"}, "instances", "{}",
    ),)


@row
class EmptyContexts(Empties):
    name = "H5-listen"
    title = "gRPC listenings to configurations without names, up to three million in a message, four at a time"
    kinds = (
        ("ConfigBatchListenRequest", {"listen": True}, "configListenContexts", "{}"),
        ("ConfigBatchListenRequest", {"listen": True}, "configListenContexts", '{"dataId":"","group":"","tenant":""}'),
        ("NamingFuzzyWatchRequest", {"groupKeyPattern": "public>>G>>*", "watchType": "WATCH", "initializing": True},
         "receivedGroupKeys", '""'),
    )
