"""What everybody else notices meanwhile: a registration, a list, a health check and a gRPC query every 100 ms, each with its
time, and the memory of the server."""

import asyncio
import contextlib
import dataclasses
import os
import threading
import time

from common.web import SDK_PORT_ABOVE
from kit.http2 import Http2, accepted

EVERY_SECONDS = 0.1
PATIENCE_SECONDS = 5
PRIORITY = -5
SERVICE = "probe"
# Registrations are of so many addresses in turn, so that each is a change.
ADDRESSES = 50
KINDS = ("register", "list", "health", "grpc")
MIB = 1024 * 1024


@dataclasses.dataclass
class Sample:
    at: float
    ms: float
    # Why it is no answer; empty when it is one.
    wrong: str = ""


def memory(pid, field="VmRSS"):
    """Bytes of a process; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(f"{field}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def socket_memory():
    """Bytes that the kernel holds for all TCP sockets of the machine: no part of any process."""
    with open("/proc/net/sockstat") as file:
        for line in file:
            if line.startswith("TCP:"):
                words = line.split()
                return int(words[words.index("mem") + 1]) * 4096
    return 0


class Prober:
    """Runs in a thread of its own from `start` to `stop`."""

    def __init__(self, address, pid):
        host, _, port = address.rpartition(":")
        self.host, self.port, self.pid = host, int(port), pid
        self.samples = {kind: [] for kind in KINDS}
        self.rss = []
        self.kernel = []
        # How late this program itself was: what it adds to what it measures.
        self.lag_ms = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.ending.set()
        self.thread.join()

    def between(self, kind, begin, end):
        return [sample for sample in self.samples[kind] if begin <= sample.at <= end]

    async def _run(self):
        # Of this thread alone: what is measured is the server's time, not the wait for a processor. Needs root.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        self.client, self.dialling = None, asyncio.Lock()
        number, due, under_way = 0, time.monotonic(), set()
        while not self.ending.is_set():
            for kind in KINDS:
                task = asyncio.create_task(self._probe(kind, number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            self.rss.append((time.monotonic(), memory(self.pid)))
            self.kernel.append((time.monotonic(), socket_memory()))
            number, due = number + 1, due + EVERY_SECONDS
            await asyncio.sleep(max(0, due - time.monotonic()))
            self.lag_ms.append((time.monotonic(), (time.monotonic() - due) * 1000))
            due = max(due, time.monotonic() - EVERY_SECONDS)
        await asyncio.gather(*under_way)
        if self.client:
            self.client.close()

    async def _probe(self, kind, number):
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                wrong = await (self._query() if kind == "grpc" else self._ask(kind, number))
        except TimeoutError:
            wrong = f"no answer within {PATIENCE_SECONDS} s"
        except OSError as error:
            wrong = f"{type(error).__name__}: {error}"
        self.samples[kind].append(Sample(began, (time.monotonic() - began) * 1000, wrong))

    async def _ask(self, kind, number):
        ip = f"10.0.0.{number % ADDRESSES + 1}"
        method, path = {
            "register": ("POST", f"/nacos/v1/ns/instance?serviceName={SERVICE}&ip={ip}&port=80"),
            "list": ("GET", f"/nacos/v1/ns/instance/list?serviceName={SERVICE}"),
            "health": ("GET", "/nacos/v1/console/health/readiness"),
        }[kind]
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         "Content-Length: 0\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        line = answer.partition(b"\r\n")[0].decode(errors="replace")
        return "" if " 200 " in f"{line} " else line or "closed without an answer"

    async def _query(self):
        """A query over gRPC by a client that was there before, and dials again when it is thrown out."""
        async with self.dialling:
            if self.client is None or self.client.gone:
                self.client = await Http2.open((self.host, self.port + SDK_PORT_ABOVE))
                if not await self.client.register():
                    self.client.close()
                    self.client = None
                    return "the setup of a client was refused"
        answer = await self.client.call("ServiceQueryRequest", {
            "namespace": "public", "serviceName": SERVICE, "groupName": "DEFAULT_GROUP", "cluster": "",
        })
        return "" if accepted(answer) else f"{answer}"[:200]


def summary(samples):
    """Count, failures, median and worst of some samples, in milliseconds."""
    times = sorted(sample.ms for sample in samples)
    wrong = [sample.wrong for sample in samples if sample.wrong]
    return {
        "count": len(times),
        "failed": len(wrong),
        "why": max(set(wrong), key=wrong.count) if wrong else "",
        "median_ms": round(times[len(times) // 2], 1) if times else None,
        "worst_ms": round(times[-1], 1) if times else None,
    }
