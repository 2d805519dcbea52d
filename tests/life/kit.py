"""One server at a time: started with settings of its own, killed, given another directory, asked."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from common import servers

until = servers.until
SOON = 30
CASES = []


def case(run):
    """Marks a case. It is given a `World`."""
    CASES.append(run)
    return run


class Answer(Exception):
    """An answer with another status than 200."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Server:
    """A server with an address and a data directory. `members` is its list, and may name servers that do not run."""

    def __init__(self, world, name):
        self.world = world
        self.name = name
        self.address = f"127.0.0.1:{servers.free_ports(1)[0]}"
        self.data = os.path.join(world.directory, name)
        self.process = None

    def start(self, members=(), flags=(), token=True, wait=True, environment=None):
        command = [self.world.binary, "server", "--port", self.address.rpartition(":")[2], "--data-dir", self.data]
        command += ["--min-free-disk", "0"]
        if token:
            command += ["--cluster-token-file", self.world.token, "--advertise", self.address]
        if members:
            command += ["--members", ",".join(one.address for one in members)]
        with open(self.data + ".log", "ab") as log:
            self.process = subprocess.Popen(
                command + list(flags), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=servers.environment() | (environment or {}), cwd=self.world.directory,
            )
        if wait:
            self.ready()
        return self

    def ready(self, seconds=SOON):
        def answers():
            code = self.process.poll()
            if code is not None:
                raise SystemExit(f"{self.name} ended with {code}:\n{self.log()}")
            return self.get("/nacos/v1/console/health/readiness")

        until(f"{self.name} is ready", answers, seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """As an operator stops it."""
        self.process.terminate()
        return self.process.wait(SOON)

    def ended(self, seconds=SOON):
        """The exit code, once it ends by itself."""
        return self.process.wait(seconds)

    def log(self, size=3000):
        with open(self.data + ".log", errors="replace") as file:
            return file.read()[-size:]

    def empty(self):
        shutil.rmtree(self.data)

    def copy(self, name):
        """A copy of the data directory, as a restored disk has it."""
        target = os.path.join(self.world.directory, name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.data, target, ignore=shutil.ignore_patterns("admin.sock"))
        return target

    def put_back(self, copy):
        self.empty()
        shutil.copytree(copy, self.data)

    def request(self, method, path, **params):
        url = f"http://{self.address}{path}"
        body = None
        if params and method == "POST":
            body = urllib.parse.urlencode(params).encode()
        elif params:
            url += "?" + urllib.parse.urlencode(params)
        try:
            with servers.OPENER.open(urllib.request.Request(url, method=method, data=body), timeout=6) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise Answer(error.code, error.read().decode()) from None

    def get(self, path, **params):
        try:
            return self.request("GET", path, **params)
        except Answer as answer:
            raise AssertionError(str(answer)) from None

    def refused(self, method, path, **params):
        """The answer that is no success."""
        try:
            body = self.request(method, path, **params)
        except Answer as answer:
            return answer
        raise AssertionError(f"{self.name} answered {method} {path} with {body}")

    def publish(self, name, content):
        assert self.request("POST", "/nacos/v1/cs/configs", dataId=name, group="G", content=content) == "true"

    def read(self, name, **more):
        return self.request("GET", "/nacos/v1/cs/configs", dataId=name, group="G", **more)

    def cli(self, *arguments, code=0):
        """A command of the operator on this server's machine: what it prints."""
        command = [self.world.binary, *arguments, "--data-dir", self.data]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=servers.environment())
        assert code is None or done.returncode == code, f"{' '.join(arguments)} on {self.name}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def status(self):
        """Whatever the exit code, which says whether all is well."""
        return json.loads(self.cli("cluster", "status", "--output", "json", code=None).splitlines()[0])

    def voters(self):
        return sorted(one["address"] for one in self.status()["members"] if one["voter"])

    def leads(self):
        own = self.status()
        return any(one["role"] == "leader" and one["member_id"] == own["member_id"] for one in own["members"])


class World:
    """The servers of one case."""

    def __init__(self, binary, directory):
        self.binary = binary
        self.directory = directory
        self.servers = []
        self.token = os.path.join(directory, "token")
        with open(self.token, "wb") as file:
            subprocess.run([binary, "token", "new"], stdout=file, check=True)

    def server(self):
        self.servers.append(Server(self, f"member-{len(self.servers) + 1}"))
        return self.servers[-1]

    def cluster(self, count=3):
        """That many empty members, founded."""
        members = [self.server() for _ in range(count)]
        for one in members:
            one.start(members, wait=False)
        for one in members:
            one.ready()
        until("there is a leader", lambda: any(one.leads() for one in members), SOON)
        return members

    def close(self):
        for one in self.servers:
            if one.process and one.process.poll() is None:
                one.process.kill()
                one.process.wait()


def leader_of(members):
    return until("there is a leader", lambda: next((one for one in members if one.leads()), None), SOON)


def written(server, name, content, seconds=SOON):
    """Publishes, and tries again while the server asks for that."""

    def once():
        try:
            server.publish(name, content)
        except Answer as answer:
            if answer.status < 500:
                raise
            raise AssertionError(str(answer)) from None
        return True

    until(f"{name} is written through {server.name}", once, seconds)


def same(server, count, prefix="c"):
    """Has the server every configuration that was written?"""
    for n in range(count):
        try:
            got = server.read(f"{prefix}-{n}")
        except Answer as answer:
            raise AssertionError(f"{prefix}-{n} at {server.name}: {answer}") from None
        assert got == f"{prefix}-{n}", f"{prefix}-{n} at {server.name} is {got}"
    return True


def wait_same(server, count, prefix="c"):
    until(f"{server.name} has all {count} configurations", lambda: same(server, count, prefix), SOON)


def holds_for(what, holds, seconds):
    """Fails as soon as it does not hold."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert holds(), what
        time.sleep(0.1)
