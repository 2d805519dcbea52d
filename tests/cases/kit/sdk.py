"""A client of the SDK port that sends exactly what a case says: JSON that no SDK would write, or no acknowledgement."""

import json
import queue
import threading
import time

import grpc

from common import payload

UNARY = "/Request/request"
STREAM = "/BiRequestStream/requestBiStream"
PATIENCE_SECONDS = 10
# What every SDK takes: a larger answer is an error of the client's, and ends its stream.
MESSAGE_MAX = 10 * 1024 * 1024

OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_MAX),
    ("grpc.max_send_message_length", -1),
    # Each client its own connection: by it the server tells clients apart.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]


class Reply:
    """The type and the JSON of an answer or a push."""

    def __init__(self, kind, body):
        self.kind = kind
        self.size = len(body)
        self.json = json.loads(body)

    @property
    def ok(self):
        return self.json.get("resultCode") == 200

    @property
    def message(self):
        return self.json.get("message") or ""

    def __repr__(self):
        return f"{self.kind} {json.dumps(self.json)[:300]}"


class Connection:
    """A registered client. Use it as a context: its end is the end of its instances."""

    def __init__(self, server, ip="127.0.0.1", setup=None, acknowledge=True):
        """`setup` replaces fields of the setup; `acknowledge` may also be a function from a push to the JSON that is
        answered."""
        self.ip = ip
        self.acknowledge = acknowledge
        self.channel = grpc.insecure_channel(server.sdk_address, options=OPTIONS)
        self.unary = self.channel.unary_unary(UNARY)
        self.outgoing = queue.SimpleQueue()
        self.pushed = []
        self.ended = None
        self.news = threading.Condition()
        self.id = self.ask("ServerCheckRequest").json["connectionId"]
        self.stream = self.channel.stream_stream(STREAM)(iter(self.outgoing.get, None))
        threading.Thread(target=self._read, daemon=True).start()
        labels = {"source": "sdk", "module": "naming"}
        self.say("ConnectionSetupRequest", {
            "clientVersion": "Nacos-Java-Client:v2.5.1", "tenant": "", "labels": labels, "abilityTable": {},
        } | (setup or {}))
        self.next("SetupAckRequest")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.outgoing.put(None)
        self.channel.close()

    def say(self, kind, body):
        """Sends on the stream."""
        self.outgoing.put(payload.encode(kind, json.dumps(body).encode(), client_ip=self.ip))

    def begin(self, kind, body=None, **fields):
        """Begins a call; `body` are the bytes of a JSON that Python would not write. The future's result is for `reply`."""
        raw = json.dumps(fields).encode() if body is None else body
        return self.unary.future(payload.encode(kind, raw, client_ip=self.ip), timeout=PATIENCE_SECONDS)

    def ask(self, kind, body=None, **fields):
        return reply(self.begin(kind, body, **fields))

    def next(self, kind, wanted=lambda push: True, since=0, seconds=PATIENCE_SECONDS):
        """The first push of this type, from number `since` on, that is wanted."""
        deadline = time.monotonic() + seconds
        with self.news:
            while True:
                for push in self.pushed[since:]:
                    if push.kind == kind and wanted(push):
                        return push
                left = deadline - time.monotonic()
                if self.ended or not self.news.wait(max(left, 0)):
                    seen = [push for push in self.pushed[since:] if push.kind == kind]
                    raise AssertionError(f"no such {kind} within {seconds} s; {self.ended or 'last'}: {seen[-1:]}")

    @property
    def count(self):
        """How many pushes there were; what `next` calls `since`."""
        return len(self.pushed)

    def _read(self):
        try:
            for message in self.stream:
                push = Reply(*payload.decode(message))
                with self.news:
                    self.pushed.append(push)
                    self.news.notify_all()
                if push.kind != "SetupAckRequest" and self.acknowledge:
                    self._acknowledge(push)
            why = "the stream ended"
        except grpc.RpcError as error:
            why = f"the stream broke: {error.code()} {error.details()}"
        with self.news:
            self.ended = why
            self.news.notify_all()

    def _acknowledge(self, push):
        answer = {"resultCode": 200, "errorCode": 0, "requestId": push.json.get("requestId")}
        if callable(self.acknowledge):
            answer = self.acknowledge(push)
        self.say(push.kind.replace("Request", "Response"), answer)

    # The requests of the naming part.

    def instance(self, service, ip, port, kind="registerInstance", request="InstanceRequest", **more):
        return self.ask(request, **named(service), type=kind, instance={"ip": ip, "port": port} | more)

    def deregister(self, service, ip, port, **more):
        return self.instance(service, ip, port, kind="deregisterInstance", **more)

    def batch(self, service, instances):
        return self.ask("BatchInstanceRequest", **named(service), type="batchRegisterInstance", instances=instances)

    def subscribe(self, service, clusters="", subscribe=True):
        return self.ask("SubscribeServiceRequest", **named(service), clusters=clusters, subscribe=subscribe)

    def query(self, service, clusters=""):
        return self.ask("ServiceQueryRequest", **named(service), cluster=clusters, healthyOnly=False, udpPort=0)

    def ports(self, service, clusters=""):
        return {host["port"] for host in self.query(service, clusters).json["serviceInfo"]["hosts"]}

    # The requests of the configuration part.

    def publish(self, data_id, content, group="G", tenant="", **addition):
        return self.ask(
            "ConfigPublishRequest", dataId=data_id, group=group, tenant=tenant, content=content, additionMap=addition
        )

    def get(self, data_id, group="G", tenant="", **more):
        return self.ask("ConfigQueryRequest", dataId=data_id, group=group, tenant=tenant, **more)


def named(service, group="DEFAULT_GROUP"):
    return {"namespace": "public", "serviceName": service, "groupName": group}


def reply(future):
    """The answer to a call. What gRPC itself says is an error: no SDK reads on after it."""
    try:
        return Reply(*payload.decode(future.result()))
    except grpc.RpcError as error:
        raise AssertionError(f"gRPC {error.code()}: {error.details()}") from None
