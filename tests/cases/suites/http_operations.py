"""What operators, charts, scrapers and browsers ask over HTTP."""

from kit.case import case

# What `metrics?onlyStatus=false` says: of the cluster, and of what this member answers for.
METRICS = (
    "serviceCount", "instanceCount", "subscribeCount", "responsibleInstanceCount", "clientCount",
    "connectionBasedClientCount", "ephemeralIpPortClientCount", "persistentIpPortClientCount", "responsibleClientCount",
    "cpu", "load", "mem", "status",
)
MONITORED = (
    "/actuator/prometheus", "/actuator/health", "/v3/admin/core/state", "/v3/admin/core/state/liveness",
    "/v3/admin/core/state/readiness", "/v1/console/server/state", "/v1/ns/health/checkers",
)


@case
def switch_names_are_the_same_both_ways(server):
    """An unknown switch is refused, and a name that GET shows can be PUT."""
    refused = server.call("PUT", "/v1/ns/operator/switches", {"entry": "nonsense", "value": "true"})
    assert refused.status == 400, refused
    assert "checkTimes" in server.call("GET", "/v1/ns/operator/switches").json()
    answer = server.call("PUT", "/v1/ns/operator/switches", {"entry": "checkTimes", "value": "4"})
    assert answer.status == 200, answer
    shown = server.call("GET", "/v1/ns/operator/switches").json()
    assert shown.get("checkTimes") == 4, shown.get("checkTimes")


@case
def monitoring_paths_of_charts_and_boards(server):
    """The paths that Helm charts probe and Prometheus scrapes answer 200."""
    for path in MONITORED:
        answer = server.call("GET", path)
        assert answer.status == 200, (path, answer)


@case
def prometheus_http_discovery(server):
    """/prometheus lists the addresses of services in any group and namespace."""
    server.register("discovered", "10.0.0.7", 9100, groupName="OTHER")
    server.register("discovered", "10.0.0.8", 9100, namespaceId="elsewhere")
    answer = server.call("GET", "/prometheus")
    assert answer.status == 200, answer
    assert "10.0.0.7:9100" in answer.text and "10.0.0.8:9100" in answer.text, answer


@case
def login_while_there_are_no_users(server):
    """A login is answered with a token, or refused with 403: a client with a user name stops at any other answer."""
    for path in ("/v1/auth/login", "/v1/auth/users/login", "/v3/auth/user/login"):
        answer = server.call("POST", path, form={"username": "nacos", "password": "nacos"})
        assert answer.status in (200, 403), (path, answer)
        assert answer.status == 403 or answer.json().get("accessToken"), (path, answer)


@case
def origin_of_the_same_site_behind_a_proxy(server):
    """Behind a TLS proxy that passes Host without a port, the console's own requests are not foreign."""
    for origin in ("https://nacos.corp", "https://nacos.corp:8443"):
        answer = server.call("GET", "/v1/console/namespaces", headers={"Host": "nacos.corp", "Origin": origin})
        assert answer.status == 200, (origin, answer)


@case
def metrics_in_full(server):
    """metrics?onlyStatus=false has all counts, of services, instances and clients, and those this member answers for."""
    said = server.call("GET", "/v1/ns/operator/metrics", {"onlyStatus": "false"}).json()
    lacks = [name for name in METRICS if said.get(name) is None]
    assert not lacks, f"without {lacks}"


@case
def v3_admin_answers_have_an_envelope(server):
    """Every answer below /v3/admin is an envelope with code 0: the Java maintainer client cannot read a bare 200."""
    answer = server.call("POST", "/v3/admin/cs/ops/localCache")
    assert answer.status == 200 and answer.json()["code"] == 0, answer
