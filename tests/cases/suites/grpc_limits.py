"""No answer and no push is larger than SDKs take: the write that would make it so is refused."""

from common.servers import until
from common.web import Server
from kit.case import case
from kit.sdk import MESSAGE_MAX, Connection, named, reply

# How a refusal may write the limit.
SPELLINGS = ("10 MiB", "10MiB", str(MESSAGE_MAX), f"{MESSAGE_MAX:,}")
# As much as one instance may have, in characters of three bytes; two bytes of JSON more for each key.
METADATA = {"k": "中" * 1000}
# Together more than 10 MiB of JSON.
INSTANCES = 4_000
# As members store them, under the 512 KiB of a batch.
BATCH = 150
CALLS_AT_ONCE = 64
NAMES = 100_000
INTEGER_MAX = 2**31 - 1
SLACK = 64 * 1024


def names_the_limit(text):
    return any(spelling in text for spelling in SPELLINGS)


def instance(number, **more):
    ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return {"ip": ip, "port": 80, "metadata": METADATA} | more


def at_once(client, kind, requests):
    """Sends many requests of one type, some of them at a time; yields their answers."""
    under_way = []
    for request in requests:
        under_way.append(client.begin(kind, **request))
        if len(under_way) >= CALLS_AT_ONCE:
            yield reply(under_way.pop(0))
    for future in under_way:
        yield reply(future)


@case(members=1)
def a_service_stays_as_small_as_clients_take(fleet):
    """The batch, and then the single instance, that would make a list of instances larger than 10 MiB is refused with the limit;
    queries and pushes go on."""
    server = Server(fleet.addresses[0])
    publishers = []
    with Connection(server) as subscriber:
        try:
            assert subscriber.subscribe("large").ok
            refusal = None
            for first in range(0, INSTANCES, BATCH):
                publishers.append(Connection(server))
                answer = publishers[-1].batch("large", [instance(number) for number in range(first, first + BATCH)])
                if not answer.ok:
                    refusal = answer
                    break
            listed = subscriber.query("large")
            assert listed.size <= MESSAGE_MAX, f"{listed.size} bytes"
            assert refusal, f"{INSTANCES} instances with a list of {listed.size} bytes were accepted"
            assert names_the_limit(refusal.message), refusal
            assert listed.size > MESSAGE_MAX // 2, f"refused with a list of {listed.size} bytes: {refusal}"

            for number in range(BATCH + 1):
                answer = server.register("large", f"10.9.9.{number}", 80, metadata=f'{{"k":"{METADATA["k"]}"}}')
                if answer.status != 200:
                    break
            assert answer.status in (400, 413, 429) and names_the_limit(answer.text), answer
            before = subscriber.count
            assert publishers[0].deregister("large", instance(0)["ip"], 80).ok
            push = subscriber.next("NotifySubscriberRequest", since=before)
            assert push.size <= MESSAGE_MAX, f"{push.size} bytes"
            assert subscriber.query("large").size <= MESSAGE_MAX
        finally:
            for publisher in publishers:
                publisher.close()


@case(members=1)
def a_persistent_service_stays_as_small_as_clients_take(fleet):
    """The persistent instance that would make a list larger than 10 MiB is refused with the limit."""
    server = Server(fleet.addresses[0])
    with Connection(server) as client:
        requests = (
            named("large") | {"type": "registerInstance", "instance": instance(number, ephemeral=False)}
            for number in range(INSTANCES)
        )
        refused = [answer for answer in at_once(client, "PersistentInstanceRequest", requests) if not answer.ok]
        listed = client.query("large")
        assert listed.size <= MESSAGE_MAX, f"{listed.size} bytes"
        assert refused, f"{INSTANCES} instances with a list of {listed.size} bytes were accepted"
        assert all(names_the_limit(answer.message) for answer in refused), refused[0]
        # An operator makes one instance larger: the same limit.
        changed = server.call("PUT", "/v1/ns/instance", form={
            "serviceName": "large", "ip": instance(0)["ip"], "port": 80, "ephemeral": "false",
            "metadata": f'{{"k":"{METADATA["k"]}"}}',
        })
        assert changed.status == 200 or names_the_limit(changed.text), changed
        assert client.query("large").size <= MESSAGE_MAX


@case
def a_content_that_no_client_could_take(server):
    """A content that would make an answer of more than 10 MiB, by its length or by what JSON makes of its characters, is refused
    with the limit; a smaller one is served."""
    with Connection(server) as client:
        room = "x" * (MESSAGE_MAX - SLACK)
        assert client.publish("room", room).ok
        assert client.get("room").json["content"] == room
        # As JSON each of these characters is two or six bytes.
        contents = {"quotes": '"' * (6 * 1024 * 1024), "controls": "\x01" * (2 * 1024 * 1024), "length": "x" * MESSAGE_MAX}
        for name, content in contents.items():
            answer = server.publish(name, content)
            if answer.status == 200:
                assert client.get(name).json["content"] == content, name
            else:
                assert answer.status in (400, 413) and names_the_limit(answer.text), (name, answer)


@case(members=1, flags=("--limits-services", "200000"))
def every_name_of_a_hundred_thousand(fleet):
    """A list with a page size of Integer.MAX_VALUE has every name, up to 100,000, over gRPC and HTTP."""
    server = Server(fleet.addresses[0])
    with Connection(server) as client:
        register(client, (f"service-{number:06}" for number in range(NAMES)))
        answer = client.ask(
            "ServiceListRequest", namespace="public", groupName="DEFAULT_GROUP", serviceName="", pageNo=1, pageSize=INTEGER_MAX
        )
        assert answer.ok, answer
        names = set(answer.json["serviceNames"])
        assert answer.json["count"] == NAMES and len(names) == NAMES, (answer.json["count"], len(names))
        answer = server.call("GET", "/v1/ns/service/list", {"pageNo": 1, "pageSize": INTEGER_MAX}, timeout=60)
        assert answer.status == 200, answer
        assert answer.json()["count"] == NAMES and set(answer.json()["doms"]) == names, len(answer.json()["doms"])


@case(members=1)
def a_list_of_long_names(fleet):
    """A list of services whose names are together larger than 10 MiB reaches the client, with a count that is true."""
    server = Server(fleet.addresses[0])
    count = 25_000
    with Connection(server) as client:
        register(client, (f"{number:06}-" + "n" * 480 for number in range(count)))
        answer = client.ask(
            "ServiceListRequest", namespace="public", groupName="DEFAULT_GROUP", serviceName="", pageNo=1, pageSize=INTEGER_MAX
        )
        assert answer.ok and answer.json["count"] == count and answer.json["serviceNames"], answer


def register(client, services):
    """One instance of each service, all of them by this client."""
    requests = (
        named(service) | {"type": "registerInstance", "instance": {"ip": "10.0.0.1", "port": 80}} for service in services
    )
    refused = [answer for answer in at_once(client, "InstanceRequest", requests) if not answer.ok]
    assert not refused, f"{len(refused)} refused, such as {refused[0]}"
    until("the last one is listed", lambda: client.ask(
        "ServiceListRequest", namespace="public", groupName="DEFAULT_GROUP", serviceName="", pageNo=1, pageSize=1
    ).json["count"], 5)
