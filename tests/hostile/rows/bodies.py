"""Many sockets that each want a little too much: unfinished bodies, and answers that nobody reads."""

from kit.field import head
from kit.row import Row, row

BODY = 10_000_000
SENT = 9_900_000
# So many sockets come from one address: what one address may have is no bound for all of them.
SOCKETS_OF_ADDRESS = 10
# The smallest that Linux gives: what is not read stays with the server.
SMALL = 4096
# With room for the rest of a gRPC message of 10 MiB.
CONTENT = "x" * (10 * 1024 * 1024 - 128 * 1024)


@row
class Bodies(Row):
    name = "bodies"
    title = "1,000 sockets that have each sent 9.9 of a body of 10 MB"
    proof = {"connections": 1000}

    async def attack(self, field):
        begin = head("POST", "/v1/cs/configs", BODY, Content_Type="application/x-www-form-urlencoded")

        async def one(number):
            with await field.open(number // SOCKETS_OF_ADDRESS) as raw, field.holds():
                await field.send(raw, begin)
                await field.first(self.body(field, raw), field.answered(raw))
                await field.hold(raw)

        await field.crowd(1000, one)

    @staticmethod
    async def body(field, raw):
        await field.fill(raw, SENT)
        field.count("sent to the last byte but 100,000")
        # The other end of this race is an answer.
        await field.answered(raw)


class Readers(Row):
    """200 sockets that ask for a content and read nothing."""

    contents = 1
    proof = {"connections": 200}

    def prepare(self, scene):
        for number in range(self.contents):
            answer = scene.server.publish(f"large-{number}", CONTENT)
            assert answer.status == 200, answer

    async def attack(self, field):
        async def one(number):
            with await field.open(number // SOCKETS_OF_ADDRESS, SMALL) as raw, field.holds():
                await field.send(raw, head("GET", f"/v1/cs/configs?group=G&dataId=large-{number % self.contents}"))
                await field.hold(raw)

        await field.crowd(200, one)


@row
class ReadersOfOne(Readers):
    name = "readers"
    title = "200 readers of a content of 10 MiB that do not read"


@row
class ReadersOfMany(Readers):
    name = "readers-of-20"
    title = "200 readers of 20 contents of 10 MiB that do not read"
    contents = 20


@row
class Pages(Row):
    name = "H3-pages"
    title = "50 unread pages of 30 MB over HTTP"
    proof = {"connections": 50}

    def prepare(self, scene):
        for number in range(3):
            answer = scene.server.publish(f"page-{number}", CONTENT)
            assert answer.status == 200, answer

    async def attack(self, field):
        path = "/v1/cs/configs?search=blur&dataId=page-*&group=&pageNo=1&pageSize=100"

        async def one(number):
            with await field.open(number, SMALL) as raw, field.holds():
                await field.send(raw, head("GET", path))
                await field.hold(raw)

        await field.crowd(50, one)
