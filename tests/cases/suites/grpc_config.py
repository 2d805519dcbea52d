"""Configurations over gRPC."""

from kit.case import case
from kit.sdk import Connection

BETA_IP = "10.9.9.9"


@case
def gray_release_without_a_type_over_grpc(server):
    """A gray release that names no type has the type of the formal release."""
    with Connection(server) as client, Connection(server, ip=BETA_IP) as beta:
        assert client.publish("gray.yaml", "a: 1", type="yaml").ok
        assert client.publish("gray.yaml", "a: 2", betaIps=BETA_IP).ok
        answer = beta.get("gray.yaml")
        assert answer.json["content"] == "a: 2" and answer.json["beta"], answer
        assert answer.json["contentType"] == "yaml", answer
        assert client.publish("gray.yaml", "a: 3", tag="blue").ok
        answer = client.get("gray.yaml", tag="blue")
        assert answer.json["content"] == "a: 3" and answer.json["contentType"] == "yaml", answer
        # Its own type counts when it has one.
        assert client.publish("gray.yaml", "a=4", tag="green", type="properties").ok
        answer = client.get("gray.yaml", tag="green")
        assert answer.json["contentType"] == "properties", answer
        assert client.get("gray.yaml").json["contentType"] == "yaml", client.get("gray.yaml")


@case
def empty_tags_clear(server):
    """A publish with config_tags "" clears the tags, and one that does not give them keeps them, as over HTTP."""

    def tags(name):
        return server.detail(name)["configTags"] or ""

    with Connection(server) as client:
        ways = {
            "tags-grpc": lambda **more: client.publish("tags-grpc", "a", **more).ok,
            "tags-http": lambda **more: server.publish("tags-http", "a", **more).status == 200,
        }
        for name, publish in ways.items():
            assert publish(config_tags="one,two")
            assert sorted(tags(name).split(",")) == ["one", "two"], (name, tags(name))
            assert publish()
            assert sorted(tags(name).split(",")) == ["one", "two"], (name, "not given", tags(name))
            assert publish(config_tags="")
            assert tags(name) == "", (name, "given as empty", tags(name))


@case
def publish_without_a_description_keeps_it_over_grpc(server):
    """A publish that does not give a description, use, effect or schema keeps those that are there."""
    given = {"desc": "what it is for", "use": "start", "effect": "at once", "schema": "{}"}
    with Connection(server) as client:
        assert client.publish("described", "a=1", **given).ok
        assert client.publish("described", "a=2").ok
        detail = server.detail("described")
        assert detail["content"] == "a=2", detail
        assert {field: detail[field] for field in given} == given, detail
        # SDKs write null for what they do not have.
        assert client.publish("described", "a=3", **dict.fromkeys(given)).ok
        detail = server.detail("described")
        assert detail["content"] == "a=3" and {field: detail[field] for field in given} == given, detail


# A text with half of a surrogate pair, as JSON may spell it; no UTF-8 text can hold it.
HALF = '"a\\ud83d"'
SERVICE = '"namespace":"public","groupName":"G"'
CONFIG = '"group":"G","tenant":""'
REGISTER = f'{SERVICE},"serviceName":"half","type":"registerInstance"'
HALVES = (
    ("ConfigPublishRequest", "content", f'{{{CONFIG},"dataId":"half","content":{HALF}}}'),
    ("ConfigPublishRequest", "desc", f'{{{CONFIG},"dataId":"half","content":"a","additionMap":{{"desc":{HALF}}}}}'),
    ("ConfigQueryRequest", "dataId", f'{{{CONFIG},"dataId":{HALF}}}'),
    ("ConfigRemoveRequest", "dataId", f'{{{CONFIG},"dataId":{HALF}}}'),
    ("ConfigBatchListenRequest", "md5",
     f'{{"listen":true,"configListenContexts":[{{{CONFIG},"dataId":"half","md5":{HALF}}}]}}'),
    ("ConfigFuzzyWatchRequest", "groupKeyPattern", f'{{"groupKeyPattern":{HALF},"watchType":"WATCH","initializing":true}}'),
    ("NamingFuzzyWatchRequest", "groupKeyPattern", f'{{"groupKeyPattern":{HALF},"watchType":"WATCH","initializing":true}}'),
    ("ServiceQueryRequest", "serviceName", f'{{{SERVICE},"serviceName":{HALF}}}'),
    ("SubscribeServiceRequest", "clusters", f'{{{SERVICE},"serviceName":"half","subscribe":true,"clusters":{HALF}}}'),
    ("ServiceListRequest", "groupName", f'{{"namespace":"public","groupName":{HALF},"pageNo":1,"pageSize":10}}'),
    ("InstanceRequest", "metadata", f'{{{REGISTER},"instance":{{"ip":"10.0.0.1","port":1,"metadata":{{"k":{HALF}}}}}}}'),
    ("InstanceRequest", "ip", f'{{{REGISTER},"instance":{{"ip":{HALF},"port":1}}}}'),
    ("PersistentInstanceRequest", "clusterName",
     f'{{{REGISTER},"instance":{{"ip":"10.0.0.1","port":1,"clusterName":{HALF}}}}}'),
    ("BatchInstanceRequest", "metadata",
     f'{{{SERVICE},"serviceName":"half","type":"batchRegisterInstance","instances":'
     f'[{{"ip":"10.0.0.1","port":1,"metadata":{{"k":{HALF}}}}}]}}'),
)


@case
def half_a_surrogate_pair_is_refused_by_name(server):
    """Half of a surrogate pair in any field is a 400 that names the field, and nothing of the request is done."""
    with Connection(server) as client:
        wrong = []
        for kind, field, body in HALVES:
            answer = client.ask(kind, body.encode())
            if answer.json.get("errorCode") != 400 or field not in answer.message:
                wrong.append(f"{field} of {kind}: {answer}")
        assert not wrong, f"{len(wrong)} of {len(HALVES)}: " + "; ".join(wrong)
        assert not client.ports("half") and server.get("half").status == 404
