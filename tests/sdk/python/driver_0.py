"""nacos-sdk-python 0.1.x: HTTP v1, subscriptions by polling."""

import json
import logging
import multiprocessing
import os
import sys
import threading
import time

logging.disable(logging.CRITICAL)
import nacos  # noqa: E402
from nacos.listener import SubscribeListener  # noqa: E402

SERVERS = os.environ["SDK_SERVERS"]
SKIP = set(os.environ.get("SDK_SKIP", "").split(","))
GROUP = "SDK_GROUP"
SERVICE = "sdk-python-http"
CONFIG = SERVICE + ".properties"
POLL_SECONDS = 1


def say(**line):
    print(json.dumps(line), flush=True)


def ask(what, **more):
    say(ask=what, **more)
    sys.stdin.readline()


def step(name, check):
    if name in SKIP:
        return
    try:
        say(step=name, ok=True, detail=check())
    except Exception as error:
        say(step=name, ok=False, detail=f"{type(error).__name__}: {error}")


def until(seconds, holds):
    began = time.monotonic()
    last = None
    while time.monotonic() - began < seconds:
        try:
            if holds():
                return f"{(time.monotonic() - began) * 1000:.0f} ms"
        except Exception as error:  # the SDK raises while no server answers
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {last}")


def client(namespace=""):
    made = nacos.NacosClient(SERVERS, namespace=namespace)
    made.set_options(default_timeout=5, snapshot_base=os.path.expanduser("~/snapshots"))
    return made


def hosts(of, service=SERVICE, **more):
    return of.list_naming_instance(service, group_name=GROUP, **more)["hosts"]


def addresses(of, service=SERVICE, **more):
    return {f"{host['ip']}:{host['port']}" for host in hosts(of, service, **more)}


def register(of, service, ip, port, value="1", ephemeral=True, cluster="DEFAULT"):
    beat = {"heartbeat_interval": 5} if ephemeral else {}
    metadata = {"v": value}
    assert of.add_naming_instance(
        service, ip, port, cluster, 1.0, metadata, True, True, ephemeral, group_name=GROUP, **beat
    ), "not registered"


def deregister(of, service, ip, port, ephemeral=True):
    beat = of.heartbeats.pop(f"{service}#{ip}#{port}", None)  # the SDK goes on beating by itself
    if beat:
        beat.stop()
    assert of.remove_naming_instance(service, ip, port, "DEFAULT", ephemeral, group_name=GROUP), "not deregistered"


class Watch:
    """A subscription: what its callbacks have told so far."""

    def __init__(self, of, service):
        self.of, self.service, self.lists = of, service, []
        listener = SubscribeListener(fn=lambda *_: self.changed(), listener_name="watch")
        of.subscribe(listener, POLL_SECONDS, service, group_name=GROUP)

    def changed(self):
        """The SDK tells one instance at a time; the whole list is read again."""
        found = hosts(self.of, self.service)
        self.lists.append(found)

    def last(self):
        return {f"{host['ip']}:{host['port']}": host["metadata"].get("v") for host in self.lists[-1]}


def standalone():
    mine, other = client(), client()
    step("connect", lambda: f"{len(hosts(mine))} instances")

    def registered():
        register(mine, SERVICE, "10.6.0.1", 8001)
        return "ok"

    def query():
        took = until(5, lambda: len(hosts(other)) == 1)
        found = hosts(other)[0]
        assert found["metadata"] == {"v": "1"} and found["healthy"] and found["serviceName"] == f"{GROUP}@@{SERVICE}", found
        return took

    step("register", registered)
    step("query", query)
    watch = Watch(other, SERVICE)
    time.sleep(2 * POLL_SECONDS)
    step("subscribe", lambda: "the SDK gives no first callback")

    def push():
        register(other, SERVICE, "10.6.0.2", 8002)
        return until(15, lambda: set(watch.last()) == {"10.6.0.1:8001", "10.6.0.2:8002"})

    def update():
        register(mine, SERVICE, "10.6.0.1", 8001, "2")
        return until(15, lambda: watch.last()["10.6.0.1:8001"] == "2")

    def gone():
        deregister(other, SERVICE, "10.6.0.2", 8002)
        return until(15, lambda: set(watch.last()) == {"10.6.0.1:8001"})

    def death():
        ask("hold", service=SERVICE, ip="10.6.0.3", port=8003)
        until(20, lambda: "10.6.0.3:8003" in watch.last())
        ask("kill-held")
        return until(60, lambda: set(watch.last()) == {"10.6.0.1:8001"})

    def empty():
        deregister(mine, SERVICE, "10.6.0.1", 8001)
        return until(15, lambda: not watch.last())

    def unsubscribe():
        other.unsubscribe(SERVICE)
        other.stop_subscribe()
        return "ok"

    step("push", push)
    step("update", update)
    step("deregister", gone)
    step("client-death", death)
    step("empty", empty)
    step("unsubscribe", unsubscribe)

    def persistent():
        name = SERVICE + "-durable"
        register(mine, name, "10.6.0.4", 8004, ephemeral=False)
        until(10, lambda: [host["ephemeral"] for host in hosts(other, name)] == [False])
        deregister(mine, name, "10.6.0.4", 8004, ephemeral=False)
        return until(10, lambda: not hosts(other, name))

    def clusters():
        name = SERVICE + "-clusters"
        register(mine, name, "10.6.0.5", 8005, cluster="c2")
        register(other, name, "10.6.0.6", 8006)
        return until(10, lambda: len(hosts(mine, name, clusters="c2")) == 1 and len(hosts(mine, name)) == 2)

    def namespace():
        name, there = SERVICE + "-namespace", client("sdk-namespace")
        register(there, name, "10.6.0.7", 8007)
        took = until(8, lambda: len(hosts(there, name)) == 1)
        assert not hosts(mine, name), "seen in another namespace"
        return took

    step("persistent", persistent)
    step("clusters", clusters)
    step("namespace", namespace)
    config(mine)

    def restart():
        name = SERVICE + "-restart"
        followed = Followed(mine, name + ".properties")
        followed.change("before", 30)
        register(mine, name, "10.6.0.8", 8008)
        until(10, lambda: addresses(other, name) == {"10.6.0.8:8008"})
        ask("restart")

        def there():
            until(60, lambda: mine.get_config(followed.id, GROUP, no_snapshot=True) == "before")
            return followed.change("after", 60)

        step("config-restart", there)
        took = until(40, lambda: addresses(other, name) == {"10.6.0.8:8008"})
        # Not before: a poll that meets no server ends this SDK's polling for good.
        again = Watch(other, name)
        register(mine, name, "10.6.0.8", 8008, "restarted")
        until(30, lambda: again.last().get("10.6.0.8:8008") == "restarted")
        return f"there again after {took}"

    step("restart", restart)


class Followed:
    """A configuration whose changes are told."""

    def __init__(self, of, id):
        self.of, self.id, self.heard = of, id, []
        of.add_config_watcher(id, GROUP, lambda change: self.heard.append(change["content"]))
        time.sleep(3)  # the long poll is sent by another process

    def change(self, content, seconds):
        until(seconds, lambda: self.of.publish_config(self.id, GROUP, content))
        return until(seconds, lambda: self.heard and self.heard[-1] == content)


def config(of):
    def get():
        return of.get_config(CONFIG, GROUP, no_snapshot=True)

    def missing():
        assert get() is None
        return "None"

    def publish():
        assert of.publish_config(CONFIG, GROUP, "a=1\n中文")
        return "ok"

    def listen():
        heard = []
        of.add_config_watcher(CONFIG, GROUP, lambda change: heard.append(change["content"]))
        time.sleep(3)  # the long poll is sent by another process
        of.publish_config(CONFIG, GROUP, "a=2")
        return until(25, lambda: "a=2" in heard)

    def remove():
        assert of.remove_config(CONFIG, GROUP)
        return until(5, lambda: get() is None)

    def namespace():
        there = client("sdk-namespace")
        there.publish_config("n-" + CONFIG, GROUP, "there")
        took = until(5, lambda: there.get_config("n-" + CONFIG, GROUP, no_snapshot=True) == "there")
        assert of.get_config("n-" + CONFIG, GROUP, no_snapshot=True) is None, "seen in another namespace"
        return took

    step("config-connect", lambda: "ok")
    step("config-get-missing", missing)
    step("config-publish", publish)
    step("config-get", lambda: until(5, lambda: get() == "a=1\n中文"))
    step("config-listen", listen)
    step("config-remove", remove)
    step("config-namespace", namespace)


def cluster():
    mine, other = client(), client()
    service = SERVICE + "-cluster"
    both = {"10.6.1.1:8001", "10.6.1.2:8002"}

    def registered():
        register(mine, service, "10.6.1.1", 8001)
        return until(10, lambda: addresses(other, service) == {"10.6.1.1:8001"})

    step("cluster-register", registered)
    watch = Watch(other, service)
    time.sleep(2 * POLL_SECONDS)

    def push():
        register(other, service, "10.6.1.2", 8002)
        return until(20, lambda: set(watch.last()) == both)

    step("cluster-push", push)
    followed = Followed(client(), service + ".properties")
    step("cluster-config", lambda: followed.change("0", 40))
    seen = len(watch.lists) - 1

    def death(number):
        ask(f"kill-{number}")
        try:
            value = f"death-{number}"
            step(f"config-{value}", lambda: followed.change(value, 60))
            until(30, lambda: register(mine, service, "10.6.1.1", 8001, value) is None)
            took = until(30, lambda: watch.last().get("10.6.1.1:8001") == value)
            assert addresses(mine, service) == both, "an instance is missing"
            lost = [found for found in watch.lists[seen:] if len(found) != 2]
            assert not lost, f"{len(lost)} callbacks with another number of instances"
            return took
        finally:
            ask(f"revive-{number}")

    for number in (1, 2, 3):
        step(f"death-{number}", lambda: death(number))

    def gone():
        deregister(other, service, "10.6.1.2", 8002)
        return until(20, lambda: set(watch.last()) == {"10.6.1.1:8001"})

    step("cluster-deregister", gone)


def hold(service, ip, port):
    mine = client()
    register(mine, service, ip, int(port))
    watch = Watch(mine, service)
    told = 0
    while True:
        while told < len(watch.lists):
            say(event=[f"{host['ip']}:{host['port']}" for host in watch.lists[told]])
            told += 1
        time.sleep(0.05)


if __name__ == "__main__":
    {"standalone": standalone, "cluster": cluster, "hold": hold}[sys.argv[1]](*sys.argv[2:])
    for child in multiprocessing.active_children():
        child.terminate()  # long polls would outlive us
    os._exit(0)
