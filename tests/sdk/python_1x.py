"""A real client of the 1.x era, nacos-sdk-python 0.1.x, against a standalone server that is started for it:
it registers, beats, lists and deregisters. Usage: python_1x.py BINARY"""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import nacos

GROUP = "SDK_GROUP"
SERVICE = "sdk-python-1x"
# Longer than the 15 s after which an instance without beats turns unhealthy.
BEATEN_SECONDS = 17


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(what, holds, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except Exception as error:  # the client raises on any answer that is not 200
            last = error
        else:
            last = "not yet"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: {last}")
        time.sleep(0.05)


def ready(address):
    with urllib.request.urlopen(f"http://{address}/nacos/v1/console/health/readiness", timeout=1) as answer:
        return answer.status == 200


def check(address):
    client = nacos.NacosClient(address, namespace="")

    def hosts(service=SERVICE):
        return client.list_naming_instance(service, group_name=GROUP)["hosts"]

    def one(**expected):
        found = hosts()
        return len(found) == 1 and all(found[0][key] == value for key, value in expected.items())

    def register(metadata, **more):
        assert client.add_naming_instance(
            SERVICE, "10.6.0.1", 8001, "DEFAULT", 2.0, metadata, True, True, True, group_name=GROUP, **more
        )

    register({"v": "1"})
    until("registered", lambda: one(ip="10.6.0.1", port=8001, weight=2.0, healthy=True, metadata={"v": "1"}))
    register({"v": "2"})
    until("registered again with other metadata", lambda: one(metadata={"v": "2"}))

    began = time.monotonic()
    while time.monotonic() - began < BEATEN_SECONDS:
        answer = client.send_heartbeat(SERVICE, "10.6.0.1", 8001, "DEFAULT", 2.0, {"v": "2"}, group_name=GROUP)
        assert answer["clientBeatInterval"] == 5000, answer
        assert one(healthy=True), hosts()
        time.sleep(1)

    assert client.remove_naming_instance(SERVICE, "10.6.0.1", 8001, "DEFAULT", True, group_name=GROUP)
    until("deregistered", lambda: not hosts())
    assert client.send_heartbeat(SERVICE, "10.6.0.1", 8001, "DEFAULT", 2.0, {"v": "3"}, group_name=GROUP)
    until("a full beat registers", lambda: one(metadata={"v": "3"}))
    assert client.remove_naming_instance(SERVICE, "10.6.0.1", 8001, "DEFAULT", True, group_name=GROUP)

    durable = SERVICE + "-durable"
    assert client.add_naming_instance(
        durable, "10.6.0.3", 8003, "DEFAULT", 1.0, {}, True, True, False, group_name=GROUP
    )
    until("persistent", lambda: [host["ephemeral"] for host in hosts(durable)] == [False])
    assert client.remove_naming_instance(durable, "10.6.0.3", 8003, "DEFAULT", False, group_name=GROUP)
    until("persistent one deregistered", lambda: not hosts(durable))


def main(binary):
    logging.disable(logging.CRITICAL)
    address = f"127.0.0.1:{free_port()}"
    # Settings of whoever runs this are not the test's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DYAD_", "NACOS_"))}
    with tempfile.TemporaryDirectory() as directory:
        command = [binary, "server", "--port", address.rpartition(":")[2], "--data-dir", os.path.join(directory, "data")]
        with open(os.path.join(directory, "log"), "w+b") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            try:
                until("ready", lambda: ready(address))
                check(address)
            except BaseException:
                log.seek(0)
                print(log.read().decode(errors="replace")[-4000:], file=sys.stderr)
                raise
            finally:
                server.terminate()
                code = server.wait(30)
    assert code == 0, f"the server ended with {code}"
    print(json.dumps({"sdk": "nacos-sdk-python", "result": "ok"}))


if __name__ == "__main__":
    main(sys.argv[1])
