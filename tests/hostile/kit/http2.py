"""HTTP/2 frames written by hand, and as much of gRPC as a client of the SDK port needs. It does what no library lets one do:
stop in the middle of a message, open no window, read nothing; and it costs little enough to do so a thousand times."""

import asyncio
import collections
import json
import socket
import struct

from common import payload

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
DEFAULT_WINDOW = 65_535
OPEN_WINDOW = 1 << 24
FRAME_MAX = 16_384
# What SDKs take and send.
MESSAGE_MAX = 10 * 1024 * 1024
UNARY = "/Request/request"
STREAM = "/BiRequestStream/requestBiStream"
CANCEL = 8
# Linux: the port is chosen when the socket connects, so that one address has as many connections as there are ports.
BIND_ADDRESS_NO_PORT = 24


def frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + data


def _literal(name, value):
    """A header that is not put into any table, with its name spelled out."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def head(path):
    """The headers of a gRPC call; those of HPACK's static table by their number."""
    return (
        b"\x83\x86\x01\x09localhost\x04" + bytes((len(path),)) + path.encode()
        + _literal(b"content-type", b"application/grpc") + _literal(b"te", b"trailers")
    )


def message(kind, body, client_ip="127.0.0.1"):
    """A whole message of gRPC. `body` is JSON as bytes, or what becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    data = payload.encode(kind, raw, client_ip=client_ip)
    return struct.pack(">BI", 0, len(data)) + data


def promised(kind, size):
    """The beginning of a message that says it has `size` bytes in all."""
    inner = payload.varint(payload.BODY_VALUE << 3 | 2) + payload.varint(size)
    begin = payload.head(kind) + payload.varint(payload.BODY << 3 | 2) + payload.varint(size + len(inner)) + inner
    return struct.pack(">BI", 0, len(begin) + size) + begin


class Stream:
    def __init__(self, window):
        self.window = window
        self.sent = 0
        self.received = bytearray()
        self.messages = collections.deque()
        self.news = asyncio.Event()
        # None while it goes on; then "ended", "reset" or why the connection is gone.
        self.over = None


class Http2(asyncio.Protocol):
    """One connection. `window` is how much the server may send for one stream; with 0 it may send no answer at all."""

    @classmethod
    async def open(cls, address, source=None, window=OPEN_WINDOW, receive_buffer=None):
        """Connects and sends the preface; `address` and `source` are (host, port)."""
        loop = asyncio.get_running_loop()
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            # Headers and data are written one after the other.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                raw.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
                raw.bind(source)
            await loop.sock_connect(raw, address)
            _, client = await loop.create_connection(lambda: cls(window), sock=raw)
        except BaseException:
            raw.close()
            raise
        return client

    def __init__(self, window):
        self.own_window = window
        self.streams = {}
        self.next_id = 1
        self.window = DEFAULT_WINDOW
        self.their_initial = DEFAULT_WINDOW
        self.buffer = bytearray()
        self.waiting = []
        self.paused = False
        self.gone = None
        self.sent = 0
        self.unacknowledged = 0

    # What the transport tells.

    def connection_made(self, transport):
        self.transport = transport
        settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, self.own_window)
        window = struct.pack(">I", OPEN_WINDOW)
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW, 0, 0, window))

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self._move()

    def connection_lost(self, error):
        self.gone = f"closed: {error}" if error else "closed"
        for stream in self.streams.values():
            self._end(stream, self.gone)
        self._move()

    def data_received(self, data):
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 9:
            length = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) - at < 9 + length:
                break
            kind, flags = self.buffer[at + 3], self.buffer[at + 4]
            stream = int.from_bytes(self.buffer[at + 5:at + 9], "big")
            self._take(kind, flags, stream, bytes(self.buffer[at + 9:at + 9 + length]))
            at += 9 + length
        del self.buffer[:at]

    def _take(self, kind, flags, number, data):
        stream = self.streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(data), 6):
                what, value = struct.unpack(">HI", data[at:at + 6])
                if what == INITIAL_WINDOW_SIZE:
                    for other in self.streams.values():
                        other.window += value - self.their_initial
                    self.their_initial = value
            self.transport.write(frame(SETTINGS, ACK, 0))
            self._move()
        elif kind == PING and not flags & ACK:
            self.transport.write(frame(PING, ACK, 0, data))
        elif kind == WINDOW:
            more = int.from_bytes(data, "big")
            if number == 0:
                self.window += more
            elif stream:
                stream.window += more
            self._move()
        elif kind == GOAWAY:
            self.gone = self.gone or "goaway"
        elif kind == RESET and stream:
            self._end(stream, "reset")
            self._move()
        elif kind == DATA and stream:
            stream.received += data
            self._messages(stream)
            self._open_window(number, len(data))
        if kind in (DATA, HEADERS) and flags & END_STREAM and stream:
            self._end(stream, "ended")
            self._move()

    def _messages(self, stream):
        while len(stream.received) >= 5:
            length = int.from_bytes(stream.received[1:5], "big")
            if len(stream.received) < 5 + length:
                return
            stream.messages.append(bytes(stream.received[5:5 + length]))
            del stream.received[:5 + length]
            stream.news.set()

    def _open_window(self, number, read):
        self.unacknowledged += read
        if not self.own_window:
            return
        self.transport.write(frame(WINDOW, 0, number, struct.pack(">I", read)) if read else b"")
        if self.unacknowledged > DEFAULT_WINDOW:
            self.transport.write(frame(WINDOW, 0, 0, struct.pack(">I", self.unacknowledged)))
            self.unacknowledged = 0

    @staticmethod
    def _end(stream, why):
        stream.over = stream.over or why
        stream.news.set()

    def _move(self):
        """Something may be sent that could not be sent before, or never."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # What a row does.

    def begin(self, path=UNARY):
        """Opens a stream; its number."""
        number = self.next_id
        self.next_id += 2
        self.streams[number] = Stream(self.their_initial)
        self.streams[number].over = self.gone
        self.transport.write(frame(HEADERS, END_HEADERS, number, head(path)))
        return number

    def cancel(self, number):
        self.streams.pop(number, None)
        if not self.gone:
            self.transport.write(frame(RESET, 0, number, struct.pack(">I", CANCEL)))

    async def send(self, number, data, end=False):
        """Sends as the windows allow; returns early when the stream is over."""
        stream, at, data = self.streams[number], 0, memoryview(data)
        while at < len(data) and not stream.over:
            room = min(FRAME_MAX, len(data) - at, self.window, stream.window)
            if room <= 0 or self.paused:
                future = asyncio.get_running_loop().create_future()
                self.waiting.append(future)
                await future
                continue
            last = end and at + room == len(data)
            # Two writes would be two system calls; a frame is copied once instead.
            self.transport.write(frame(DATA, END_STREAM if last else 0, number, data[at:at + room]))
            self.window -= room
            stream.window -= room
            self.sent += room
            stream.sent += room
            at += room

    async def answer(self, number):
        """The next message of a stream as (type, bytes of JSON); None when it ends without one."""
        stream = self.streams[number]
        while not stream.messages and not stream.over:
            stream.news.clear()
            await stream.news.wait()
        if not stream.messages:
            return None
        return payload.decode(stream.messages.popleft())

    async def call(self, kind, body):
        """One call; None when the transport refused it."""
        if self.gone:
            return None
        number = self.begin()
        try:
            await self.send(number, message(kind, body), end=True)
            return await self.answer(number)
        finally:
            self.streams.pop(number, None)

    async def register(self, labels=None):
        """The setup of a client. True when the server took it in."""
        number = self.begin(STREAM)
        setup = {"clientVersion": "Nacos-Java-Client:v2.5.1", "tenant": "", "abilityTable": {}}
        await self.send(number, message("ConnectionSetupRequest", setup | {"labels": labels or {"source": "sdk"}}))
        answer = await self.answer(number)
        self.stream = number
        return answer is not None and answer[0] == "SetupAckRequest"

    def stop_reading(self):
        self.transport.pause_reading()

    def close(self):
        self.transport.abort()


def accepted(answer):
    """Whether what `call` gave is a success."""
    return answer is not None and json.loads(answer[1]).get("resultCode") == 200
