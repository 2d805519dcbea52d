"""Services and instances over HTTP."""

import json
import time

from common.servers import until
from common.web import FORM, multipart, part
from kit.case import case
from kit.sdk import Connection

INTEGER_MAX = 2**31 - 1
# A server may probe such an instance a few times before it believes what it sees.
PROBED_SECONDS = 40


@case
def list_all_services_in_one_call(server):
    """A page size above the limit is cut, never refused: Spring Cloud Alibaba and Dubbo ask for Integer.MAX_VALUE services."""
    server.register("huge-a", "10.0.0.1", 1)
    for size in (INTEGER_MAX, 1_000_000):
        answer = server.call("GET", "/v1/ns/service/list", {"pageNo": 1, "pageSize": size})
        assert answer.status == 200 and "huge-a" in answer.json()["doms"], (size, answer)


@case
def multipart_form_registers_an_instance(server):
    """The parts of a multipart form are parameters: curl -F, Postman and PHP send them so."""
    body, headers = multipart(part("serviceName", "multipart"), part("ip", "10.0.0.1"), part("port", "80"))
    answer = server.call("POST", "/v1/ns/instance", body=body, headers=headers)
    assert answer.text == "ok", answer
    assert server.addresses("multipart") == {"10.0.0.1:80"}, server.hosts("multipart")


@case
def unprobed_persistent_instance_is_not_called_healthy(server):
    """A persistent instance with a host name or a bracketed address is probed, refused, or shown as unchecked; it is not healthy
    for ever."""
    accepted = []
    for ip in ("no-such.invalid", "[::1]"):
        answer = server.register("unprobed", ip, 9, ephemeral="false")
        if answer.status != 400:
            accepted.append(ip)

    def none_healthy():
        healthy = [host["ip"] for host in server.hosts("unprobed") if host["healthy"] and host["ip"] in accepted]
        assert not healthy, f"{healthy} called healthy, though nobody can have reached them"
        return True

    until("no unreachable instance is called healthy", none_healthy, PROBED_SECONDS)


@case
def delete_without_the_lifetime_of_a_persistent_instance(server):
    """DELETE that does not say ephemeral=false removes a persistent instance or is refused; it never answers ok while the
    instance stays."""
    server.register("own", "10.0.0.1", 80, ephemeral="false")
    answer = server.deregister("own", "10.0.0.1", 80)
    assert not server.hosts("own") or answer.status >= 400, (answer, server.hosts("own"))


@case
def delete_of_what_a_connection_owns(server):
    """DELETE over HTTP of an instance that a gRPC client registered removes it, or is 409 and says who owns it."""
    for service, more in (("owned", {}), ("owned-explicit", {"ephemeral": "true"})):
        with Connection(server) as client:
            assert client.instance(service, "10.0.0.1", 80).ok
            answer = server.deregister(service, "10.0.0.1", 80, **more)
            left = server.addresses(service)
            if answer.status == 409:
                assert client.id in answer.text, f"409 without the id of the owner, {client.id}: {answer}"
                assert left, "409, but the instance is gone"
            else:
                assert answer.status == 200 and not left, (answer, left)
                assert client.ask("HealthCheckRequest").ok, "the connection itself must go on"


@case
def delete_of_ones_own_beside_a_connections(server):
    """A client registered an address over HTTP that a gRPC client has too: DELETE takes back what it registered, and no more."""
    with Connection(server) as client:
        assert client.instance("beside", "10.0.0.1", 80).ok
        server.register("beside", "10.0.0.1", 80, metadata='{"own":"http"}')
        answer = server.deregister("beside", "10.0.0.1", 80)
        assert answer.status == 200, answer
        hosts = server.hosts("beside")
        assert len(hosts) == 1 and "own" not in hosts[0]["metadata"], hosts
        answer = server.deregister("beside", "10.0.0.1", 80)
        assert answer.status == 409, answer


@case
def override_ends_with_its_instance(server):
    """What an operator set ends with the instance: after a deregistration counts what the client registers next."""
    instance = {"serviceName": "override", "ip": "10.0.0.1", "port": 80}
    server.call("POST", "/v1/ns/instance", form=instance | {"metadata": '{"v":"old"}'})
    server.call("PUT", "/v1/ns/instance", form=instance | {"weight": 0, "metadata": '{"v":"old"}'})
    server.call("DELETE", "/v1/ns/instance", instance)
    server.call("POST", "/v1/ns/instance", form=instance | {"weight": 1, "metadata": '{"v":"new"}'})
    hosts = server.hosts("override")
    assert hosts and hosts[0]["metadata"] == {"v": "new"} and hosts[0]["weight"] == 1, hosts


@case
def disabled_ends_with_its_instance(server):
    """An instance that an operator disabled is enabled again when its client deregisters and registers it anew."""
    instance = {"serviceName": "disabled", "ip": "10.0.0.1", "port": 80}
    for lifetime in ("true", "false"):
        named = instance | {"serviceName": f"disabled-{lifetime}", "ephemeral": lifetime}
        service = named["serviceName"]
        assert server.call("POST", "/v1/ns/instance", form=named).status == 200
        assert server.call("PUT", "/v1/ns/instance", form=named | {"enabled": "false"}).status == 200
        until(f"{service} is out of the list", lambda: not server.hosts(service), 5)
        assert server.call("DELETE", "/v1/ns/instance", named).status == 200
        assert server.call("POST", "/v1/ns/instance", form=named).status == 200
        hosts = server.hosts(service)
        assert len(hosts) == 1 and hosts[0]["enabled"], (lifetime, hosts)


@case
def disabled_ends_with_its_instance_over_grpc(server):
    """The same for an instance that a connection owns, whether it deregisters or its connection ends."""

    def disable(service):
        form = {"serviceName": service, "ip": "10.0.0.1", "port": 80, "enabled": "false"}
        assert server.call("PUT", "/v1/ns/instance", form=form).status == 200
        until(f"{service} is out of the list", lambda: not server.hosts(service), 5)

    with Connection(server) as client:
        assert client.instance("disabled-grpc", "10.0.0.1", 80).ok
        disable("disabled-grpc")
        assert client.deregister("disabled-grpc", "10.0.0.1", 80).ok
        assert client.instance("disabled-grpc", "10.0.0.1", 80).ok
        assert server.addresses("disabled-grpc") == {"10.0.0.1:80"}, "still disabled after a deregistration"
        assert client.instance("disabled-end", "10.0.0.1", 80).ok
        disable("disabled-end")
    detail = {"serviceName": "disabled-end", "ip": "10.0.0.1", "port": 80}
    until("the instance ends with its connection",
          lambda: server.call("GET", "/v1/ns/instance", detail).status == 404, 20)
    with Connection(server) as client:
        assert client.instance("disabled-end", "10.0.0.1", 80).ok
        assert server.addresses("disabled-end") == {"10.0.0.1:80"}, "still disabled after the end of its connection"


@case
def metadata_limit_is_a_setting_and_says_so(server):
    """Metadata over the limit (Dubbo's key `methods` has more than 1,024 characters) is accepted, or the refusal names the
    setting that allows it."""
    metadata = json.dumps({"methods": "getSomething," * 100})
    answer = server.register("metadata", "10.0.0.1", 80, metadata=metadata)
    assert answer.status == 200 or "limits." in answer.text or "setting" in answer.text, answer


@case
def beat_times_in_seconds_by_mistake(server):
    """An instance whose preserved.* times are 3, 6 and 9, meant as seconds and read as milliseconds, does not flicker between
    two beats, and goes when its beats stop."""
    times = {"preserved.heart.beat.interval": "3", "preserved.heart.beat.timeout": "6", "preserved.ip.delete.timeout": "9"}
    answer = server.register("seconds", "10.0.0.1", 80, metadata=json.dumps(times))
    assert answer.text == "ok", answer
    end = time.monotonic() + 1
    while time.monotonic() < end:
        hosts = server.hosts("seconds")
        assert len(hosts) == 1 and hosts[0]["healthy"], f"1 s after its registration: {hosts}"
        time.sleep(0.05)
    until("gone without beats", lambda: not server.hosts("seconds"), 10)


@case
def form_in_gbk_registers_an_instance(server):
    """A body that says charset=GBK is read as GBK on every route, also below /v1/ns."""
    body = b"serviceName=gbk&ip=10.0.0.1&port=80&metadata=%7B%22k%22%3A%22%D6%D0%22%7D"
    answer = server.call("POST", "/v1/ns/instance", body=body, headers={"Content-Type": f"{FORM}; charset=GBK"})
    assert answer.text == "ok", answer
    assert server.hosts("gbk")[0]["metadata"] == {"k": "中"}, server.hosts("gbk")
