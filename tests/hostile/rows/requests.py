"""Single requests that were taken though they should not be, and requests whose client is gone."""

import asyncio

from common.servers import until
from kit.field import head
from kit.row import Row, row

FREED_SECONDS = 3
# Connections of those who measure.
OWN = 50


class One(Row):
    """No flood: a request or two, and their answers."""

    seconds = 1
    goes_on = False

    async def attack(self, field):
        await asyncio.sleep(0)


@row
class Rebinding(One):
    name = "L1"
    title = "a page of http://evil.example whose name was bound to the server's address"

    def during(self, scene):
        for origin, host in (("http://evil.example", "evil.example"), ("http://evil.example:8848", "evil.example:8848")):
            answer = scene.server.call("GET", "/v1/console/namespaces", headers={"Origin": origin, "Host": host})
            scene.expect(answer.status == 403, f"Origin {origin} with Host {host}: {answer}")
        own = f"127.0.0.1:{scene.server.port}"
        answer = scene.server.call("GET", "/v1/console/namespaces", headers={"Origin": f"http://{own}", "Host": own})
        scene.expect(answer.status == 200, f"the server's own page: {answer}")


@row
class ControlCharacter(One):
    name = "L2"
    title = "an encryptedDataKey with a control character"

    def during(self, scene):
        for generation, path, group in (("v1", "/v1/cs/configs", "group"), ("v3", "/v3/admin/cs/config", "groupName")):
            form = {"dataId": "key", group: "G", "content": "a", "encryptedDataKey": "a\x01b\r\nX: y"}
            answer = scene.server.call("POST", path, form=form)
            refused = answer.status == 400 and "encryptedDataKey" in answer.text
            scene.expect(refused, f"{generation}: {answer}")


@row
class HungUpPolls(Row):
    name = "L3"
    title = "5,000 long polls whose clients hang up with a request behind each"
    seconds = 12
    proof = {"polls": 5_000}

    async def attack(self, field):
        body = b"Listening-Configs=d%02G%02%01"
        request = head(
            "POST", "/v1/cs/configs/listener", len(body), Long_Pulling_Timeout="60000",
            Content_Type="application/x-www-form-urlencoded",
        ) + body + head("GET", "/v1/console/health/liveness")
        held = []
        for number in range(5_000):
            raw = await field.open(number // 50)
            await field.send(raw, request)
            held.append(raw)
            field.count("polls")
        await asyncio.sleep(1)
        for raw in held:
            raw.close()
        field.count("hung up", len(held))
        await asyncio.sleep(max(0, field.left))

    def during(self, scene):
        until("hung up", lambda: scene.facts.get("hung up"), self.seconds)
        metrics = ("dyad_config_long_polls", "dyad_http_connections")

        def held():
            return {metric: scene.server.metric(metric) for metric in metrics}

        try:
            until("freed", lambda: max(held().values()) < OWN, FREED_SECONDS)
        except AssertionError:
            scene.expect(False, f"{held()} are held {FREED_SECONDS} s after all hung up")
