"""The HTTP side of a server under test: one request on a connection of its own."""

import http.client
import json
import urllib.parse
import uuid

PATIENCE_SECONDS = 15
SDK_PORT_ABOVE = 1000
FORM = "application/x-www-form-urlencoded"


class Answer:
    """Status, headers by their lower-case name, and body of an answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.text[:300]!r}"


class Server:
    """One server by its address, "127.0.0.1:8848"."""

    def __init__(self, address):
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    @property
    def sdk_address(self):
        return f"{self.host}:{self.port + SDK_PORT_ABOVE}"

    def call(self, method, path, query=None, form=None, body=None, headers=None, timeout=PATIENCE_SECONDS):
        """One request on a connection of its own. `path` is what follows "/nacos"; `query` and `form` may be dictionaries."""
        headers = dict(headers or {})
        if isinstance(query, dict):
            query = urllib.parse.urlencode(query)
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers.setdefault("Content-Type", FORM)
        return self._ask(method, f"/nacos{path}" + (f"?{query}" if query else ""), body, headers, timeout)

    def _ask(self, method, target, body=None, headers=None, timeout=PATIENCE_SECONDS):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def register(self, service, ip, port, **more):
        return self.call("POST", "/v1/ns/instance", form={"serviceName": service, "ip": ip, "port": port} | more)

    def deregister(self, service, ip, port, **more):
        return self.call("DELETE", "/v1/ns/instance", {"serviceName": service, "ip": ip, "port": port} | more)

    def hosts(self, service, **more):
        return self.call("GET", "/v1/ns/instance/list", {"serviceName": service} | more).json()["hosts"]

    def addresses(self, service, **more):
        return {f"{host['ip']}:{host['port']}" for host in self.hosts(service, **more)}

    def publish(self, data_id, content, group="G", headers=None, **more):
        form = {"dataId": data_id, "group": group, "content": content} | more
        return self.call("POST", "/v1/cs/configs", form=form, headers=headers)

    def get(self, data_id, group="G", **more):
        return self.call("GET", "/v1/cs/configs", {"dataId": data_id, "group": group} | more)

    def detail(self, data_id, group="G", **more):
        """Everything that is known about a configuration."""
        return self.get(data_id, group, show="all", **more).json()

    def upload(self, path, query, *parts, **more):
        body, headers = multipart(*parts)
        return self.call("POST", path, query, body=body, headers=headers, **more)

    def metric(self, name):
        """The value of a metric without labels."""
        for line in self._ask("GET", "/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"there is no metric {name}")


def part(name, data, filename=None, kind=None):
    """One part of a multipart body."""
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename:
        head += f'; filename="{filename}"'
    if kind:
        head += f"\r\nContent-Type: {kind}"
    return head.encode() + b"\r\n\r\n" + (data.encode() if isinstance(data, str) else data) + b"\r\n"


def multipart(*parts):
    """The body of these parts, and its headers."""
    boundary = uuid.uuid4().hex
    body = b"".join(f"--{boundary}\r\n".encode() + one for one in parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
