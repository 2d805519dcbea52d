"""The SDKs: how each is installed and started, and which steps it is expected to pass."""

import dataclasses
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.join(ROOT, "target", "sdk")

# Steps in the order of the table. `standalone` and `cluster` are printed by the drivers; `machinery` is judged from outside.
STEPS = {
    "standalone": [
        "connect", "register", "query", "service-list", "subscribe", "push", "update", "deregister", "client-death", "empty",
        "unsubscribe", "persistent", "batch", "clusters", "namespace", "fuzzy-watch", "lock", "config-connect",
        "config-get-missing", "config-publish", "config-get", "config-listen", "config-cas", "config-remove",
        "config-namespace", "config-fuzzy-watch", "restart", "config-restart",
    ],
    "cluster": [
        "cluster-register", "cluster-push", "cluster-config", "death-1", "config-death-1", "death-2", "config-death-2",
        "death-3", "config-death-3", "cluster-deregister",
    ],
    "machinery": ["rotation", "beat-pace", "re-register", "udp-push", "udp-lost-ack", "udp-gzip", "polling", "udp-acked", "disk-cache"],
}

# Steps that the server does not serve yet: they are neither run nor judged.
LATER = {"lock": "locks are not served yet"}

GRPC_HAS_NONE = {step: "only HTTP clients do this" for step in STEPS["machinery"]}


@dataclasses.dataclass
class Client:
    name: str
    # Program and arguments; the mode follows. `{home}` is a directory of its own for each process.
    command: list
    install: object
    # Its programs that the machine must have.
    needs: tuple = ()
    # Steps that this SDK has no means for, each with the reason.
    absent: dict = dataclasses.field(default_factory=dict)
    later: dict = dataclasses.field(default_factory=lambda: dict(LATER))
    # Steps that fail, mostly or always, because of the SDK: run and shown, not judged.
    known: dict = dataclasses.field(default_factory=dict)
    # Whether a subscription calls back at once with what is there.
    first_callback: bool = True

    @property
    def missing(self):
        return [program for program in self.needs if not shutil.which(program)]

    def expected(self, mode):
        left_out = self.absent | self.later | self.known
        return [step for step in STEPS[mode] if step not in left_out]


def run(*command, cwd=None, **more):
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, env=os.environ | more)


def stale(mark, *sources):
    """Whether one of the sources is newer than the mark of the last installation."""
    return not os.path.exists(mark) or any(os.path.getmtime(one) > os.path.getmtime(mark) for one in sources)


def touch(mark):
    with open(mark, "w"):
        pass


def java(version, absent):
    home = os.path.join(TARGET, f"java-{version}")
    lib, classes = os.path.join(home, "lib"), os.path.join(home, "classes")
    names = ["Driver.java", "Steps.java"] + (["Fuzzy.java"] if version.startswith("3.") else [])
    sources = [os.path.join(HERE, "java", name) for name in names]

    def install():
        mark, pom = os.path.join(home, "installed"), os.path.join(HERE, "java", "pom.xml")
        if not stale(mark, pom, *sources):
            return
        os.makedirs(classes, exist_ok=True)
        if stale(mark, pom):
            run("mvn", "-q", "-B", "-f", pom, f"-Dnacos.version={version}", f"-DoutputDirectory={lib}",
                "-DincludeScope=runtime", "dependency:copy-dependencies")
        run("javac", "-nowarn", "-d", classes, "-cp", f"{lib}/*", *sources)
        touch(mark)

    command = [
        "java", "-Xmx192m", "-XX:TieredStopAtLevel=1", "-Duser.home={home}", "-DJM.LOG.PATH={home}",
        "-Dlogback.statusListenerClass=ch.qos.logback.core.status.NopStatusListener", "-cp", f"{classes}:{lib}/*", "Driver",
    ]
    return Client(f"Java {version}", command, install, ("java", "javac", "mvn"), absent)


def python(version, driver, absent, known=()):
    home = os.path.join(TARGET, f"python-{version}")

    def install():
        mark = os.path.join(home, "installed")
        if os.path.exists(mark):
            return
        run("python3", "-m", "venv", "--clear", home)
        run(os.path.join(home, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", f"nacos-sdk-python=={version}")
        touch(mark)

    command = [os.path.join(home, "bin", "python"), "-B", os.path.join(HERE, "python", driver)]
    return Client(f"Python {version}", command, install, ("python3",), absent, known=dict(known), first_callback=False)


def node(version, absent):
    home = os.path.join(TARGET, "node")
    sources = [os.path.join(HERE, "node", name) for name in ("package.json", "driver.js")]

    def install():
        mark = os.path.join(home, "installed")
        if not stale(mark, *sources):
            return
        os.makedirs(home, exist_ok=True)
        for source in sources:
            shutil.copy(source, home)
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", cwd=home)
        touch(mark)

    return Client(f"Node {version}", ["node", os.path.join(home, "driver.js")], install, ("node", "npm"), absent)


def go(version, absent):
    home = os.path.join(TARGET, "go")
    sources = [os.path.join(HERE, "go", name) for name in ("go.mod", "go.sum", "main.go")]
    binary = os.path.join(home, "driver")

    def install():
        if stale(binary, *sources):
            own = {"GOPATH": os.path.join(home, "path"), "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0"}
            run("go", "build", "-o", binary, ".", cwd=os.path.join(HERE, "go"), **own)

    return Client(f"Go {version}", [binary], install, ("go",), absent)


def rust(version, absent):
    home = os.path.join(TARGET, "rust")
    sources = [os.path.join(HERE, "rust", name) for name in ("Cargo.toml", "Cargo.lock", "src/main.rs")]
    binary = os.path.join(home, "debug", "sdk-driver")

    def install():
        if stale(binary, *sources):
            run("cargo", "build", "--quiet", "--locked", "--manifest-path", sources[0], "--target-dir", home)
            os.utime(binary)

    return Client(f"Rust {version}", [binary], install, ("cargo",), absent)


NO_BATCH = {"batch": "the SDK has no batch registration"}
NO_FUZZY = {step: "the SDK has no fuzzy watch" for step in ("fuzzy-watch", "config-fuzzy-watch")}
NO_LOCK = {"lock": "the SDK has no locks"}
HTTP = NO_BATCH | NO_FUZZY | NO_LOCK
GRPC = GRPC_HAS_NONE | NO_FUZZY | NO_LOCK

CLIENTS = [
    java("1.1.4", HTTP),
    java("1.2.1", HTTP),
    java("1.4.8", HTTP),
    java("2.5.1", GRPC),
    java("3.1.1", GRPC_HAS_NONE),
    java("3.2.1-2026.03.30", GRPC_HAS_NONE),
    go("2.3.5", GRPC),
    python("0.1.17", "driver_0.py", HTTP | {
        "service-list": "the SDK cannot list services",
        "beat-pace": "the SDK keeps its own pace",
        "udp-push": "the SDK polls", "udp-lost-ack": "the SDK polls", "udp-gzip": "the SDK polls",
        "udp-acked": "the SDK polls",
        "disk-cache": "the SDK has no cache of services",
        "config-cas": "the SDK has no compare-and-set",
    }),
    python("2.0.11", "driver_2.py", GRPC, {
        # It recovers from a restart that takes longer, and from the death of a member.
        "restart": "the SDK takes the answer \"not registered\" to its health check for health: a restart within the 5 s "
        "between two checks goes unnoticed until its next request",
    }),
    python("3.2.0", "driver_2.py", GRPC),
    node("2.6.3", HTTP | {
        "disk-cache": "the SDK has no cache of services",
        "config-cas": "the SDK has no compare-and-set",
        "config-namespace": "a process has one connection for configuration",
    }),
    rust("0.8.3", GRPC),
]
