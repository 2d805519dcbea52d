"""Registrations and subscriptions over gRPC."""

from common.servers import until
from kit.case import case
from kit.sdk import Connection

# A push follows a change at once, or 500 ms after the last one.
QUIET_SECONDS = 2.5
NOTIFY = "NotifySubscriberRequest"


def instances(*ports, cluster="DEFAULT"):
    return [{"ip": "10.0.0.1", "port": port, "clusterName": cluster} for port in ports]


def told(client, clusters, ports, since=0):
    """Waits for a push for these clusters, in any order of their names, with exactly these instances."""

    def wanted(push):
        info = push.json["serviceInfo"]
        same = sorted(info["clusters"].split(",")) == sorted(clusters.split(","))
        return same and {host["port"] for host in info["hosts"]} == set(ports)

    return client.next(NOTIFY, wanted, since)


def pushes(client, since):
    return [push for push in client.pushed[since:] if push.kind == NOTIFY]


@case
def deregister_one_address_of_a_batch(server):
    """Deregistering one address of a batch leaves the others."""
    with Connection(server) as client:
        assert client.batch("batch-one", instances(1, 2, 3)).ok
        answer = client.deregister("batch-one", "10.0.0.1", 2)
        assert answer.ok, answer
        assert client.ports("batch-one") == {1, 3}, client.query("batch-one")
        assert client.deregister("batch-one", "10.0.0.1", 1).ok
        assert client.deregister("batch-one", "10.0.0.1", 3).ok
        assert client.ports("batch-one") == set(), client.query("batch-one")


@case
def deregister_an_address_that_the_connection_does_not_have(server):
    """Deregistering an address that the connection does not have leaves what it has, and what another connection has."""
    with Connection(server) as client, Connection(server) as other:
        assert client.instance("not-mine", "10.0.0.1", 1).ok
        assert other.instance("not-mine", "10.0.0.1", 2).ok
        client.deregister("not-mine", "10.0.0.1", 9)
        client.deregister("not-mine", "10.0.0.1", 2)
        assert client.ports("not-mine") == {1, 2}, client.query("not-mine")
        assert client.batch("not-mine-batch", instances(1, 2)).ok
        client.deregister("not-mine-batch", "10.0.0.1", 9)
        assert client.ports("not-mine-batch") == {1, 2}, client.query("not-mine-batch")


@case
def two_subscriptions_with_other_clusters(server):
    """Two subscriptions of one service with different clusters are two: each is told, and each is ended alone."""
    with Connection(server) as publisher, Connection(server) as client:
        assert publisher.batch("clusters", instances(1, cluster="A") + instances(2, cluster="B")).ok
        for cluster, ports in (("A", {1}), ("B", {2})):
            answer = client.subscribe("clusters", cluster)
            info = answer.json["serviceInfo"]
            assert info["clusters"] == cluster and {host["port"] for host in info["hosts"]} == ports, answer
        before = client.count
        assert publisher.batch("clusters", instances(1, 11, cluster="A") + instances(2, 12, cluster="B")).ok
        told(client, "A", {1, 11}, before)
        told(client, "B", {2, 12}, before)

        assert client.subscribe("clusters", "A", subscribe=False).ok
        before = client.count
        assert publisher.batch("clusters", instances(1, cluster="A") + instances(2, cluster="B")).ok
        told(client, "B", {2}, before)
        quiet(client, lambda push: push.json["serviceInfo"]["clusters"] == "A", before)

        assert client.subscribe("clusters", "B", subscribe=False).ok
        before = client.count
        assert publisher.batch("clusters", instances(3, cluster="A") + instances(4, cluster="B")).ok
        quiet(client, lambda push: True, before)


@case
def the_order_of_clusters_does_not_matter(server):
    """"A,B" and "B,A" are one subscription: told once of a change, ended under either name."""
    with Connection(server) as publisher, Connection(server) as client:
        assert publisher.batch("order", instances(1, cluster="A") + instances(2, cluster="B")).ok
        for clusters in ("A,B", "B,A"):
            info = client.subscribe("order", clusters).json["serviceInfo"]
            assert {host["port"] for host in info["hosts"]} == {1, 2}, info
        # The push that follows a subscription is over before the change.
        told(client, "A,B", {1, 2})
        quiet(client, lambda push: True, client.count)
        before = client.count
        assert publisher.batch("order", instances(1, 3, cluster="A") + instances(2, cluster="B")).ok
        told(client, "A,B", {1, 2, 3}, before)
        quiet(client, lambda push: True, client.count)
        assert len(pushes(client, before)) == 1, pushes(client, before)

        assert client.subscribe("order", "A,B", subscribe=False).ok
        before = client.count
        assert publisher.batch("order", instances(4, cluster="A")).ok
        quiet(client, lambda push: True, before)


@case
def labels_as_an_empty_list(server):
    """A setup whose labels are [], as PHP writes an empty map, registers the client."""
    with Connection(server, setup={"labels": []}) as client:
        answer = client.ask("HealthCheckRequest")
        assert answer.ok, answer


@case
def numbers_as_they_come_in_an_acknowledgement(server):
    """An acknowledgement is understood with a numeric requestId, and with a resultCode that is a text."""
    forms = (
        lambda push: {"resultCode": 200, "requestId": int(push.json["requestId"])},
        lambda push: {"resultCode": "200", "requestId": push.json["requestId"]},
    )
    for number, acknowledge in enumerate(forms):
        service = f"acknowledged-{number}"
        before = server.metric("dyad_push_acked_total")
        with Connection(server, acknowledge=acknowledge) as client:
            assert client.subscribe(service).ok
            client.next(NOTIFY)
            until(f"form {number} is counted as an acknowledgement",
                  lambda: server.metric("dyad_push_acked_total") > before, QUIET_SECONDS)


@case
def a_failure_as_a_text_in_an_acknowledgement(server):
    """A resultCode of "500" is a failure, as 500 is."""
    before = server.metric("dyad_push_failed_total")
    with Connection(server, acknowledge=lambda push: {"resultCode": "500", "requestId": push.json["requestId"]}) as client:
        assert client.subscribe("refused").ok
        client.next(NOTIFY)
        until("counted as a failure", lambda: server.metric("dyad_push_failed_total") > before, QUIET_SECONDS)


@case
def a_numeric_request_id_in_a_request(server):
    """A request whose requestId is a number is answered as any other."""
    with Connection(server) as client:
        for kind, more in (("HealthCheckRequest", {}), ("ServiceListRequest", {"pageNo": 1, "pageSize": 10})):
            answer = client.ask(kind, requestId=7, namespace="public", groupName="DEFAULT_GROUP", **more)
            assert answer.ok, answer


def quiet(client, unwanted, since):
    """No unwanted push comes for as long as a push may take."""
    try:
        push = client.next(NOTIFY, unwanted, since, QUIET_SECONDS)
    except AssertionError:
        return
    raise AssertionError(f"an unwanted push: {push}")
