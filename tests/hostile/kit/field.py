"""What an attack has: where the server is, addresses to come from, how much time is left, and a place to say what it has done.

An attack runs in a process of its own, so that what is measured meanwhile is not slowed down by it, with a low priority: real
ones come from other machines."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time

from common.web import SDK_PORT_ABOVE
from kit.http2 import BIND_ADDRESS_NO_PORT, OPEN_WINDOW, Http2

NICENESS = 10
SAY_SECONDS = 0.5
# Who is refused tries again after this time.
AGAIN_SECONDS = 1.0
CHUNK = 64 * 1024
FILLER = memoryview(b"x" * CHUNK)
# Small buffers on the attacker's side: what is said to be accepted was taken by the server's side.
SEND_BUFFER = 64 * 1024
# What an answer may be before it is counted as nothing but bytes.
PEEK = 256


class Field:
    def __init__(self, address, seconds):
        host, _, port = address.rpartition(":")
        self.http = (host, int(port))
        self.sdk = (host, int(port) + SDK_PORT_ABOVE)
        self.deadline = time.monotonic() + seconds
        self.facts = {}
        self.holding = 0

    # Time and addresses.

    @property
    def left(self):
        return self.deadline - time.monotonic()

    @staticmethod
    def source(number):
        """An address of loopback that nobody else has, with any port."""
        return (f"127.66.{number // 250}.{number % 250 + 1}", 0)

    # What is said.

    def count(self, what, by=1):
        self.facts[what] = self.facts.get(what, 0) + by

    def most(self, what, value):
        self.facts[what] = max(self.facts.get(what, 0), value)

    @contextlib.contextmanager
    def holds(self, what="held"):
        """Something is held for as long as this lasts."""
        self.holding += 1
        self.most(what, self.holding)
        try:
            yield
        finally:
            self.holding -= 1

    def say(self, **more):
        print(json.dumps(self.facts | more), flush=True)

    async def _say_often(self):
        while True:
            await asyncio.sleep(SAY_SECONDS)
            self.say()

    # Sockets.

    async def open(self, number=0, receive_buffer=None):
        """A connected socket of the HTTP port, from address `number`."""
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            raw.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            raw.bind(self.source(number))
            await asyncio.get_running_loop().sock_connect(raw, self.http)
        except BaseException:
            raw.close()
            raise
        self.count("connections")
        return raw

    async def client(self, number=0, register=True, window=OPEN_WINDOW, receive_buffer=None):
        """A connection of the SDK port; None when its setup is refused."""
        client = await Http2.open(self.sdk, self.source(number), window, receive_buffer)
        self.count("connections")
        if register and not await client.register():
            self.count("setups refused")
            client.close()
            return None
        return client

    async def send(self, raw, data):
        await asyncio.get_running_loop().sock_sendall(raw, data)
        self.count("bytes", len(data))

    async def fill(self, raw, size):
        """Sends so many bytes of nothing."""
        while size > 0:
            await self.send(raw, FILLER[:size])
            size -= CHUNK

    async def answered(self, raw):
        """Waits until there is something to read, or the end; the first bytes, which stay unread."""
        loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        loop.add_reader(raw, lambda: future.done() or future.set_result(None))
        try:
            await future
        finally:
            loop.remove_reader(raw)
        return raw.recv(PEEK, socket.MSG_PEEK)

    async def first(self, *coroutines):
        """Runs these until one is done or the time is over; the result of that one."""
        tasks = [asyncio.ensure_future(one) for one in coroutines]
        try:
            done, _ = await asyncio.wait(tasks, timeout=max(0, self.left), return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task in done and not task.cancelled() and task.exception():
                    raise task.exception()
            return next((task.result() for task in tasks if task in done), None)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def hold(self, raw):
        """Keeps a socket until the time is over, or the server says that it will not have it. An answer that is no refusal is
        left unread."""
        first = await self.first(self.answered(raw))
        if first is None:
            return
        status = first[9:12].decode(errors="replace") if first.startswith(b"HTTP/1.1 ") else "closed"
        self.count(f"answered {status}")
        if status.startswith("2"):
            await self.first(asyncio.sleep(max(0, self.left)))

    async def crowd(self, count, one, again_seconds=AGAIN_SECONDS):
        """Runs `one(number)` so many times side by side, each again and again until the time is over."""

        async def again(number):
            while self.left > 0:
                try:
                    await one(number)
                except OSError as error:
                    self.count(f"{type(error).__name__}")
                await asyncio.sleep(max(0, min(again_seconds, self.left)))

        await asyncio.gather(*(again(number) for number in range(count)))


def head(method, path, length=None, **headers):
    """A request without its body."""
    lines = [f"{method} /nacos{path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def main(row, address):
    """The process of an attack."""
    os.nice(NICENESS)

    async def run():
        field = Field(address, row.seconds)
        saying = asyncio.create_task(field._say_often())
        try:
            # Whatever an attack waits for, it ends.
            await asyncio.wait_for(row.attack(field), row.seconds + 5)
        except TimeoutError:
            field.count("cut off")
        saying.cancel()
        field.say(over=True)

    asyncio.run(run())
    sys.stdout.flush()
    # Nothing is closed one by one: the kernel does it at once, as it does for a client that dies.
    os._exit(0)
