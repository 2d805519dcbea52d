"""A relay between a 1.x client and a server: it records every request, and can lose acknowledgements of UDP pushes or keep
the server from pushing at all. The client's UDP port is replaced by one of the relay's in each query."""

import http.client
import http.server
import json
import socket
import threading
import time
import urllib.parse
import zlib

DATAGRAM = 65_536
GZIP = b"\x1f\x8b"


class Relay:
    def __init__(self, server):
        self.server = server
        self.lock = threading.Lock()
        self.requests = []  # (time, method, path, parameters, status, body)
        self.pushes = []  # (time, lastRefTime, bytes sent, bytes of JSON, hosts)
        self.acks = []  # (time, lastRefTime, lost)
        self.lose_acks = 0
        self.push_off = False
        self.doors = {}  # the client's UDP port: the relay's socket for it
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.address = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        for door in self.doors.values():
            door.close()

    def seen(self, method=None, path=None):
        with self.lock:
            return [one for one in self.requests if method in (None, one[1]) and path in (None, one[2])]

    def _handler(relay):  # noqa: the handler's `self` is another
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _pass(self):
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
                params = dict(pairs) | dict(urllib.parse.parse_qsl(body.decode(errors="replace")))
                pairs = [(name, relay._port(value) if name == "udpPort" else value) for name, value in pairs]
                headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
                upstream = http.client.HTTPConnection(relay.server, timeout=30)
                try:
                    upstream.request(self.command, path + "?" + urllib.parse.urlencode(pairs), body or None, headers)
                    answer = upstream.getresponse()
                    content = answer.read()
                except OSError:
                    self.close_connection = True
                    return
                finally:
                    upstream.close()
                with relay.lock:
                    relay.requests.append(
                        (time.monotonic(), self.command, path.removeprefix("/nacos/v1"), params, answer.status,
                         content.decode(errors="replace"))
                    )
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass

        return Handler

    def _port(self, port):
        """The relay's port for a client's one; 0 means that the client wants no pushes."""
        if port in ("", "0") or self.push_off:
            return "0"
        with self.lock:
            if port not in self.doors:
                door = socket.socket(type=socket.SOCK_DGRAM)
                door.bind(("127.0.0.1", 0))
                self.doors[port] = door
                threading.Thread(target=self._carry, args=(door, int(port)), daemon=True).start()
            return str(self.doors[port].getsockname()[1])

    def _carry(self, door, client):
        server = None
        while True:
            try:
                datagram, source = door.recvfrom(DATAGRAM)
            except OSError:
                return
            plain = zlib.decompress(datagram, 47) if datagram[:2] == GZIP else datagram
            said = json.loads(plain)
            if source[1] == client:
                with self.lock:
                    lost = self.lose_acks > 0
                    self.lose_acks -= lost
                    self.acks.append((time.monotonic(), said.get("lastRefTime"), lost))
                if server and not lost:
                    door.sendto(datagram, server)
                continue
            server = source
            with self.lock:
                found = {f"{host['ip']}:{host['port']}" for host in json.loads(said["data"])["hosts"]}
                self.pushes.append((time.monotonic(), said.get("lastRefTime"), len(datagram), len(plain), found))
            door.sendto(datagram, ("127.0.0.1", client))
