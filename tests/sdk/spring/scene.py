"""What an application goes through, step by step, and what each step has to show."""

import json
import os
import signal
import statistics
import subprocess
import time
import urllib.error
import urllib.parse

from common.servers import OPENER, environment, free_ports, http, until

NAMESPACE = "spring-test"
GROUP = "shop"
STEPS = {
    "start": "the application starts; its `<app>.yaml` is in a namespace and in a group",
    "central": "it reads this file, and neither the same file of another group nor that of the default namespace",
    "central-over-local": "it prefers this file to its local file, which still gives the values that this file lacks",
    "register": "it is registered in the namespace and the group, and is healthy",
    "discover": "a consumer of the same release finds it and calls it by its name",
    "discover-other": "a consumer of the other release finds it and calls it by its name",
    "refresh": "a `@RefreshScope` value changes within 1 s of a publish, each of five times",
    "deaths": "it takes a publish after a member was killed, each of the three in turn, and stays listed and found",
    "restore": "the local value is back within 1 s of the removal of the central file",
    "local": "it starts on its local file when the central one is missing",
    "appear": "it takes the central file within 1 s of its publish",
    "deregister": "within 1 s of its end after SIGTERM, the service and the consumers do not have it any more",
}
# Steps that only a cluster can show.
CLUSTER_ONLY = ("deaths",)
# A JVM of Spring needs 5 s of a core; all of them start at once.
START_SECONDS = 180
# What a user notices.
CHANGE_SECONDS = 1.0
# After a member's death: an SDK has to find another one, and a 1.x client pauses for 2 s after a failed long poll.
DEATH_SECONDS = 10.0
# A 1.x consumer polls every 10 s, and its last poll tells by UDP datagrams of what comes until the next: when that member
# dies, the consumer hears of nothing until it polls another one.
POLL_SECONDS = 11.0
# How long a step looks on, so that a late change is told from none.
PATIENCE_SECONDS = 15
END_SECONDS = 30
REFRESHES = 5
# Characters of a step's detail that are kept.
DETAIL = 300


class Application:
    """One process of the application, with a home of its own: no cache of another one's contents."""

    def __init__(self, release, name, fleet, directory):
        self.name = name
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        home = os.path.join(directory, f"{release.name} {name}")
        os.makedirs(os.path.join(home, "tmp"))
        self.log = f"{home}.log"
        values = {
            "sdk.name": name, "sdk.namespace": NAMESPACE, "sdk.group": GROUP, "sdk.servers": ",".join(fleet.addresses),
            "server.port": self.address.rpartition(":")[2], "server.address": "127.0.0.1", "user.home": home,
            "java.io.tmpdir": os.path.join(home, "tmp"), "JM.LOG.PATH": home, "nacos.logging.path": home,
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["java", *release.options, *(f"-D{key}={value}" for key, value in values.items()), "-cp", release.classpath,
                 "shop.Application"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=environment(), start_new_session=True,
            )

    def get(self, path, **params):
        with OPENER.open(f"http://{self.address}{path}?{urllib.parse.urlencode(params)}", timeout=10) as answer:
            return json.loads(answer.read())

    def wait(self):
        def up():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            return self.get("/settings")

        return until(f"{self.name} answers", up, START_SECONDS)

    def last_words(self):
        with open(self.log, errors="replace") as file:
            lines = [line.strip() for line in file if "ERROR" in line or "Caused by" in line]
        return " | ".join(lines[-3:])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_SECONDS)


class Server:
    """What the test does itself, over the HTTP API of a member that lives."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.at = 0

    def request(self, method, path, **params):
        return http(self.fleet.addresses[self.at], method, path, **params)

    def create_namespace(self):
        answer = self.request("POST", "/console/namespaces", customNamespaceId=NAMESPACE, namespaceName=NAMESPACE)
        assert answer == "true", f"namespace: {answer}"

    def publish(self, name, content, group=GROUP, tenant=NAMESPACE):
        values = {"dataId": f"{name}.yaml", "group": group, "tenant": tenant, "type": "yaml", "content": content}
        answer = self.request("POST", "/cs/configs", **values)
        assert answer == "true", f"publish: {answer}"

    def remove(self, name):
        answer = self.request("DELETE", "/cs/configs", dataId=f"{name}.yaml", group=GROUP, tenant=NAMESPACE)
        assert answer == "true", f"remove: {answer}"

    def hosts(self, name):
        answer = self.request("GET", "/ns/instance/list", serviceName=f"{GROUP}@@{name}", namespaceId=NAMESPACE)
        return {f"{host['ip']}:{host['port']}": host for host in json.loads(answer)["hosts"]}


def central(greeting):
    return f"demo:\n  greeting: {greeting}\n  central: only-here\n"


def steps_of(members):
    return [step for step in STEPS if members > 1 or step not in CLUSTER_ONLY]


class Scene:
    """All steps of one release. Consumers of every release are there before and see everything."""

    def __init__(self, release, server, consumers, directory):
        self.release = release
        self.server = server
        self.consumers = consumers
        self.directory = directory
        self.steps = {}
        self.last_death = None
        suffix = release.name.replace(".", "-")
        self.name, self.bare_name = f"orders-{suffix}", f"bare-{suffix}"

    def run(self):
        """Gives back {step: {ok, detail}}. A step that fails does not keep the others from being tried."""
        server, name = self.server, self.name
        server.publish(name, central("central"))
        server.publish(name, central("other-group"), group="DEFAULT_GROUP")
        server.publish(name, central("default-namespace"), tenant="")
        self.app = Application(self.release, name, server.fleet, self.directory)
        self.bare = Application(self.release, self.bare_name, server.fleet, self.directory)
        try:
            for step in steps_of(len(server.fleet.addresses)):
                self._try(step)
        finally:
            self.app.end()
            self.bare.end()
        return self.steps

    def _try(self, step):
        try:
            detail = getattr(self, "_" + step.replace("-", "_"))()
            self.steps[step] = {"ok": True, "detail": str(detail)[:DETAIL]}
        except BaseException as error:  # noqa: becomes a result
            if isinstance(error, KeyboardInterrupt):
                raise
            self.steps[step] = {"ok": False, "detail": f"{type(error).__name__}: {error}"[:DETAIL]}

    def _start(self):
        began = time.monotonic()
        self.app.wait()
        return f"{time.monotonic() - began:.1f} s"

    def _central(self):
        found = self.app.get("/settings")
        assert found["greeting"] == "central" and found["central"] == "only-here", found
        return found

    def _central_over_local(self):
        found = self.app.get("/settings")
        assert found["greeting"] != "local" and found["local"] == "local", found
        return found

    def _register(self):
        host = until("registered", lambda: self.server.hosts(self.name).get(self.app.address), PATIENCE_SECONDS)
        assert host["healthy"] and host["ephemeral"], host
        assert host["metadata"].get("preserved.register.source") == "SPRING_CLOUD", host
        return host["metadata"]

    def _discover(self):
        return self._called_by(self.consumers[self.release.name])

    def _discover_other(self):
        others = [consumer for name, consumer in self.consumers.items() if name != self.release.name]
        assert others, "there is no other release in this run"
        return [self._called_by(other) for other in others]

    def _called_by(self, consumer):
        until("discovered", lambda: consumer.get("/instances", service=self.name) == [self.app.address], PATIENCE_SECONDS)
        answer = consumer.get("/call", service=self.name)
        assert answer["port"] == self.app.address.rpartition(":")[2] and answer["greeting"] == "central", answer
        return answer["port"]

    def _refresh(self):
        taken = [self._until_greets(self.app, new, lambda: self.server.publish(self.name, central(new)))
                 for new in (f"central-{round}" for round in range(REFRESHES))]
        assert max(taken) <= CHANGE_SECONDS, f"{milliseconds(taken)}"
        return milliseconds(taken)

    def _deaths(self):
        fleet = self.server.fleet
        taken = []
        for at in range(len(fleet.addresses)):
            fleet.kill(at)
            self.last_death = time.monotonic()
            self.server.at = (at + 1) % len(fleet.addresses)
            try:
                taken.append(self._lives_on(f"after-death-{at + 1}"))
            finally:
                fleet.start(at)
        assert max(taken) <= DEATH_SECONDS, milliseconds(taken)
        return milliseconds(taken)

    def _lives_on(self, new):
        """Seconds from when a publish is accepted until the application shows it."""
        until("published", lambda: self.server.publish(self.name, central(new)) or True, PATIENCE_SECONDS)
        taken = self._until_greets(self.app, new, lambda: None)
        assert self.server.hosts(self.name)[self.app.address]["healthy"]
        for consumer in self.consumers.values():
            assert consumer.get("/instances", service=self.name) == [self.app.address], consumer.name
        return taken

    def _restore(self):
        assert self.app.get("/settings")["greeting"] != "local", "had no central value"
        taken = self._until_greets(self.app, "local", lambda: self.server.remove(self.name))
        assert taken <= CHANGE_SECONDS, milliseconds([taken])
        return milliseconds([taken])

    def _local(self):
        found = self.bare.wait()
        assert found["greeting"] == "local" and found["central"] == "", found
        until("registered", lambda: self.bare.address in self.server.hosts(self.bare_name), PATIENCE_SECONDS)
        return found

    def _appear(self):
        taken = self._until_greets(self.bare, "central", lambda: self.server.publish(self.bare_name, central("central")))
        assert taken <= CHANGE_SECONDS, milliseconds([taken])
        return milliseconds([taken])

    def _until_greets(self, app, wanted, change):
        """Seconds from before the change is requested until the application shows it."""
        began = time.monotonic()
        change()
        until(f"greets {wanted}", lambda: app.get("/settings")["greeting"] == wanted, PATIENCE_SECONDS)
        return time.monotonic() - began

    def _deregister(self):
        process = self.app.process
        if self.last_death is not None:
            time.sleep(max(0.0, self.last_death + POLL_SECONDS - time.monotonic()))
        assert self.app.address in self.server.hosts(self.name), "was not registered"
        process.send_signal(signal.SIGTERM)
        code = process.wait(END_SECONDS)
        # 128 + 15: the JVM ran its shutdown hooks.
        assert code == 143, f"ended with {code}"
        ended = time.monotonic()
        until("out of the service", lambda: not self.server.hosts(self.name), CHANGE_SECONDS)
        for consumer in self.consumers.values():
            until(f"{consumer.name} sees it", lambda one=consumer: not one.get("/instances", service=self.name), PATIENCE_SECONDS)
        seen = time.monotonic() - ended
        assert seen <= CHANGE_SECONDS, f"with the consumers after {seen:.1f} s"
        return milliseconds([seen])


def milliseconds(taken):
    shown = ", ".join(f"{one * 1000:.0f}" for one in taken)
    return f"{shown} ms" + (f", median {statistics.median(taken) * 1000:.0f}" if len(taken) > 1 else "")
