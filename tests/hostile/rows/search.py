"""Patterns that are dear to match."""

import asyncio
import time

from kit.field import head
from kit.row import Row, row

# A request line with its headers has 16 KiB at most.
PATTERN = 15_000
# Lines, of which the first and the last hold what is sought, but none of them both; and one long line.
LINES = "Z\n" + "a\n" * 3_400_000 + "Y"
LINE = "a" * 9_000_000
CONFIGURATIONS = 3_000
GREP = "/v3/admin/cs/config/grep?content="
LIST = "/v3/admin/cs/config/list?dataId=&groupName=&search=blur&pageNo=1&pageSize=100&configTags="
HISTORY = "/v3/admin/cs/history/list?dataId=large&groupName=G&pageNo=1&pageSize=10"
HISTORY_SECONDS = 1
AT_ONCE = 4
# A search is answered within this time, if only by a refusal.
ANSWERED_SECONDS = 10
SLOW = "searches that took long"


async def ask(field, number, request):
    """One search, and how it was answered."""
    with await field.open(number) as raw:
        await field.send(raw, request)
        field.count("searches")
        asked = field.left
        first = await field.first(field.answered(raw))
        if first:
            field.count(f"answered {first[9:12].decode(errors='replace')}")
        if asked - field.left > ANSWERED_SECONDS:
            field.count(SLOW)


def in_time(scene):
    slow = scene.facts.get(SLOW, 0)
    scene.expect(not slow, f"{slow} searches without an answer for {ANSWERED_SECONDS} s")


def patterns():
    """Runs of stars, and stars between letters."""
    yield "*" * (PATTERN - 3) + "Z*Y"
    yield "*a" * ((PATTERN - 3) // 2) + "Z*Y"
    yield "*aa*a" * ((PATTERN - 2) // 5) + "*Z"


class Search(Row):
    """Two contents of 9 MB."""

    def prepare(self, scene):
        for name, content in (("large", LINES), ("long", LINE)):
            answer = scene.server.publish(name, content)
            assert answer.status == 200, answer

    async def search(self, field):
        requests = [head("GET", GREP + pattern) for pattern in patterns()]

        await field.crowd(AT_ONCE, lambda number: ask(field, number, requests[number % len(requests)]))

    def histories(self, scene):
        """Histories are read by the same turn, and are answered meanwhile."""
        for _ in range(5):
            began = time.monotonic()
            answer = scene.server.call("GET", HISTORY)
            took = time.monotonic() - began
            right = answer.status == 200 and took <= HISTORY_SECONDS
            if not scene.expect(right, f"a history took {took:.1f} s: {answer}"[:200]):
                return
            time.sleep(0.5)


@row
class Stars(Search):
    name = "H1"
    title = "four searches at a time for patterns of 15 KB of stars in contents of 9 MB"
    proof = {"searches": 4}

    async def attack(self, field):
        await self.search(field)

    def during(self, scene):
        self.histories(scene)

    def after(self, scene):
        in_time(scene)


@row
class HungUp(Search):
    name = "H1-hangup"
    title = "900 such searches whose clients hang up at once"
    proof = {"hung up": 900}

    async def attack(self, field):
        requests = [head("GET", GREP + pattern) for pattern in patterns()]
        left = iter(range(900))

        async def one(number):
            for each in left:
                with await field.open(number) as raw:
                    await field.send(raw, requests[each % len(requests)])
                    await asyncio.sleep(0.05)
                field.count("hung up")
            await asyncio.sleep(max(0, field.left))

        await field.crowd(30, one)

    def during(self, scene):
        self.histories(scene)


@row
class Tags(Row):
    name = "H1-tags"
    title = "searches for 3,000 tags with stars, four at a time, among 3,000 configurations with five tags each"
    proof = {"searches": 4}

    def prepare(self, scene):
        tags = ",".join(letter * 63 + "y" for letter in "zyxwv")
        for number in range(CONFIGURATIONS):
            answer = scene.server.publish(f"tagged-{number}", "a", config_tags=tags)
            assert answer.status == 200, answer

    async def attack(self, field):
        request = head("GET", LIST + ",".join(["*z*q*"] * (PATTERN // 6)))

        await field.crowd(AT_ONCE, lambda number: ask(field, number, request))

    def after(self, scene):
        in_time(scene)


@row
class Terminated(Search):
    name = "H1-sigterm"
    title = "SIGTERM while four such searches are under way"
    proof = {"searches": 4}
    goes_on = False
    seconds = 12

    async def attack(self, field):
        await self.search(field)

    def during(self, scene):
        """The end is judged by the runner: here the server is only told, at the right time."""
        began = time.monotonic()
        scene.process.terminate()
        try:
            code = scene.process.wait(20)
            scene.expect(code == 0, f"SIGTERM ended it with {code}")
            scene.note(f"ended {time.monotonic() - began:.1f} s after SIGTERM")
        except Exception:  # noqa: it goes on
            scene.expect(False, "SIGTERM did not end the server within 20 s")
            scene.process.kill()
        scene.ended = True
