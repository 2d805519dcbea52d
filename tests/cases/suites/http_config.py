"""Configurations over HTTP: publishing, archives, gray releases."""

import gzip
import io
import zipfile

from common.web import FORM, multipart, part
from kit.case import case

# "中文", percent-encoded in both encodings.
IN_GBK = b"k%3D%D6%D0%CE%C4"
IN_UTF_8 = b"k%3D%E4%B8%AD%E6%96%87"


def archive(**entries):
    """A zip file; the name of an entry may be given as any text."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, content in entries.items():
            written.writestr(name, content)
    return file.getvalue()


def imported(server, query, data, *parts):
    return server.upload("/v1/cs/configs", query, part("file", data, "archive.zip", "application/zip"), *parts)


@case
def multipart_form_publishes(server):
    """The parts of a multipart form are parameters, as those of any other form."""
    body, headers = multipart(part("dataId", "multipart"), part("group", "G"), part("content", "x"))
    answer = server.call("POST", "/v1/cs/configs", body=body, headers=headers)
    assert answer.status == 200 and answer.text == "true", answer
    assert server.get("multipart").text == "x", server.get("multipart")


@case
def archive_made_by_macos(server):
    """.DS_Store and __MACOSX, which Finder puts into every archive, are left out; the rest is imported."""
    data = archive(**{
        "G/mac.yml": "a: 1",
        "G/.DS_Store": b"\x00\x00\x00\x01Bud1\xff\xfe",
        "__MACOSX/G/._mac.yml": b"\x00\x05\x16\x07\xff\xff",
    })
    answer = imported(server, "import=true&namespace=&policy=OVERWRITE", data)
    assert answer.status == 200, answer
    assert server.get("mac.yml").text == "a: 1", (answer, server.get("mac.yml"))


@case
def form_in_gbk_publishes(server):
    """A body that says charset=GBK is read as GBK; what is valid UTF-8 stays UTF-8 whatever the label says."""
    for data_id, content in (("gbk", IN_GBK), ("gbk-label-only", IN_UTF_8)):
        body = b"dataId=" + data_id.encode() + b"&group=G&content=" + content
        answer = server.call("POST", "/v1/cs/configs", body=body, headers={"Content-Type": f"{FORM}; charset=GBK"})
        assert answer.text == "true", (data_id, answer)
        assert server.get(data_id).text == "k=中文", (data_id, server.get(data_id))


@case
def old_archive_keeps_each_app_name(server):
    """In an archive of the old form two configurations whose metadata keys collide keep their own application's name, or none;
    never each other's."""
    first, second = ("aaa.test_app.yml", "base_group"), ("test_app.yml", "base_group.aaa")
    server.publish(first[0], "a", first[1], appName="app1")
    server.publish(second[0], "b", second[1], appName="app2")
    exported = server.call("GET", "/v1/cs/configs", "export=true&tenant=&group=&dataId=&appName=&ids=")
    server.call("POST", "/v1/console/namespaces", form={"customNamespaceId": "app-names", "namespaceName": "app-names"})
    answer = imported(server, "import=true&namespace=app-names", exported.body)
    assert answer.status == 200, answer
    names = tuple(server.detail(*one, tenant="app-names")["appName"] for one in (first, second))
    assert names in (("app1", "app2"), (None, None), ("", "")), names


@case
def compressed_body_is_refused_by_name(server):
    """A compressed request body is read, or refused as such; it is not taken for a form without fields."""
    body = gzip.compress(b"dataId=gzip&group=G&content=x")
    headers = {"Content-Encoding": "gzip", "Content-Type": FORM}
    answer = server.call("POST", "/v1/cs/configs", body=body, headers=headers)
    assert answer.status in (200, 415), answer


@case
def beta_of_a_configuration_without_one(server):
    """The beta release of a configuration that has none is 200 with data null, which consoles and scripts test for."""
    server.publish("no-beta", "a")
    answer = server.call("GET", "/v1/cs/configs", {"beta": "true", "dataId": "no-beta", "group": "G"})
    assert answer.status == 200, answer
    assert "data" in answer.json() and answer.json()["data"] is None, answer


@case
def import_names_what_it_did_not_recognize(server):
    """An entry in a folder below a group is named in unrecognizedData and the rest is imported, with metadata whose lines end
    with CR, CRLF or LF."""
    data = archive(**{
        "UN/one.yml": "a: 1",
        "UN/two.txt": "b",
        "UN/three.properties": "c=1",
        "UN/deep/four.properties": "d=1",
        ".meta.yml": "UN.one~yml.app=app1\rUN.two~txt.app=app2\r\nUN.three~properties.app=app3",
    })
    answer = imported(server, "import=true&namespace=", data, part("policy", "OVERWRITE"))
    said = answer.json()["data"]
    assert said["unrecognizedCount"] == 1, answer
    assert said["unrecognizedData"][0]["itemName"] == "UN/deep/four.properties", answer
    assert said["succCount"] == 3, answer
    names = [server.detail(name, "UN")["appName"] for name in ("one.yml", "two.txt", "three.properties")]
    assert names == ["app1", "app2", "app3"], names


@case
def publish_without_a_description_keeps_it(server):
    """A publish over any HTTP generation that does not give a description, use, effect or schema keeps those that are there."""
    given = {"desc": "what it is for", "use": "start", "effect": "at once", "schema": "{}"}
    ways = {
        "v1": lambda name: server.publish(name, "a=2"),
        "v2": lambda name: server.call("POST", "/v2/cs/config", form={"dataId": name, "group": "G", "content": "a=2"}),
        "v3": lambda name: server.call(
            "POST", "/v3/admin/cs/config", form={"dataId": name, "groupName": "G", "content": "a=2"}
        ),
    }
    for generation, publish in ways.items():
        name = f"described-{generation}"
        assert server.publish(name, "a=1", **given).status == 200
        answer = publish(name)
        assert answer.status == 200, (generation, answer)
        detail = server.detail(name)
        assert detail["content"] == "a=2", (generation, detail)
        assert {field: detail[field] for field in given} == given, (generation, detail)


@case
def gray_release_without_a_type(server):
    """A gray release that names no type has the type of the formal release."""
    server.publish("gray-type.yaml", "a: 1", type="yaml")
    answer = server.publish("gray-type.yaml", "a: 2", headers={"betaIps": "10.9.9.9"})
    assert answer.status == 200, answer
    beta = server.call("GET", "/v1/cs/configs", {"beta": "true", "dataId": "gray-type.yaml", "group": "G"}).json()["data"]
    assert beta["content"] == "a: 2" and beta["type"] == "yaml", beta
