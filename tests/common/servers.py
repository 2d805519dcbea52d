"""Members of `dyad` as child processes on loopback: started, killed, started again on the same port and data."""

import json
import os
import random
import resource
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

# The SDK port and the cluster port lie this far above the HTTP port: SDKs compute the former themselves.
SPAN = (0, 1000, 1001)
# Below Linux's range for outgoing connections, so that a member that is down keeps its port.
PORTS = (20_000, 31_000)
READY_SECONDS = 60
END_SECONDS = 30
# Settings of whoever runs this are not the test's.
FOREIGN = ("DYAD_", "NACOS_", "nacos.", "MODE", "PREFER_HOST_MODE")
# Loopback is never reached through a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def environment():
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_ports(count):
    found = []
    while len(found) < count:
        port = random.randrange(*PORTS)
        near = any(abs(port + here - other - there) == 0 for other in found for here in SPAN for there in SPAN)
        if not near and all(free(port + above) for above in SPAN):
            found.append(port)
    return found


def until(what, holds, seconds):
    """Waits until `holds` gives a true value, and gives it back."""
    deadline = time.monotonic() + seconds
    last = "not yet"
    while True:
        try:
            value = holds()
            if value:
                return value
        except (OSError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s ({last})")
        time.sleep(0.05)


def http(address, method, path, **params):
    """One request of the v1 API; the answer as text. A status over 299 raises."""
    url = f"http://{address}/nacos/v1{path}?{urllib.parse.urlencode(params)}"
    with OPENER.open(urllib.request.Request(url, method=method), timeout=5) as answer:
        return answer.read().decode()


class Fleet:
    """One standalone server, or a cluster of three.

    `flags` are further arguments of `dyad server`. `files` is the number of descriptors that a member may have open.
    `variables` holds further environment variables of each member; it may be changed before a member is started again."""

    def __init__(self, binary, members, directory, flags=(), files=None):
        self.binary = binary
        self.directory = directory
        self.flags = list(flags)
        self.files = files
        self.variables = [{} for _ in range(members)]
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(members)]
        self.running = [None] * members
        self.token = os.path.join(directory, "token")
        if members > 1:
            with open(self.token, "wb") as file:
                subprocess.run([binary, "token", "new"], stdout=file, check=True)

    def __enter__(self):
        try:
            for at in range(len(self.addresses)):
                self.start(at, wait=False)
            for at in range(len(self.addresses)):
                self.wait(at)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, at, wait=True):
        address = self.addresses[at]
        data = os.path.join(self.directory, f"member-{at + 1}")
        command = [self.binary, "server", "--port", address.rpartition(":")[2], "--data-dir", data]
        if "--min-free-disk" not in self.flags:
            command += ["--min-free-disk", "0"]
        if len(self.addresses) > 1:
            command += ["--members", ",".join(self.addresses), "--advertise", address]
            command += ["--cluster-token-file", self.token]
        command += self.flags
        with open(f"{data}.log", "ab") as log:
            self.running[at] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment() | self.variables[at],
                cwd=self.directory, preexec_fn=self.files and self._limit_files,
            )
        if wait:
            self.wait(at)

    def _limit_files(self):
        """Runs in the child before the server does."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    def wait(self, at):
        def ready():
            code = self.running[at].poll()
            if code is not None:
                raise SystemExit(f"member {at + 1} ended with {code}:\n{self.log(at)}")
            return http(self.addresses[at], "GET", "/console/health/readiness")

        until(f"member {at + 1} is ready", ready, READY_SECONDS)

    def kill(self, at):
        self.running[at].kill()
        self.running[at].wait()

    def log(self, at, size=4000):
        with open(os.path.join(self.directory, f"member-{at + 1}.log"), errors="replace") as file:
            return file.read()[-size:]

    def stop(self):
        for process in filter(None, self.running):
            process.terminate()
        for process in filter(None, self.running):
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def keep_logs(self, target):
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(self.directory):
            if name.endswith(".log"):
                shutil.copy(os.path.join(self.directory, name), target)


def hosts(address, service, group):
    """The instances of a service as a set of "ip:port", asked directly."""
    answer = json.loads(http(address, "GET", "/ns/instance/list", serviceName=f"{group}@@{service}"))
    return {f"{host['ip']}:{host['port']}" for host in answer["hosts"]}
