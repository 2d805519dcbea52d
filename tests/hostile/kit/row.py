"""One fault: how it is prepared, done, looked at, and judged."""

import json
import os
import subprocess
import sys
import threading
import time

from common.servers import environment

# The attack must have shown by then that it is under way.
ACTIVE_SECONDS = 30

ROWS = []


class Row:
    """`name` selects it; `title` says what is done. The facts in `proof` must be reached, or the fault was none."""

    name = ""
    title = ""
    # How long the attack lasts.
    seconds = 20
    # How many members there are: the first is attacked and measured. Further flags of each, and how many descriptors each may
    # have.
    members = 1
    flags = ()
    files = None
    # Whether the server goes on, so that answers and memory are judged. False: the row looks for itself.
    goes_on = True
    proof = {}

    def prepare(self, scene):
        """Before anything is measured."""

    async def attack(self, field):
        """In the attack's own process, until its time is over."""
        raise NotImplementedError

    def during(self, scene):
        """While the fault is active. What is wrong goes into `scene.wrong`."""

    def after(self, scene):
        """After the memory was judged, or at the end when `goes_on` is false."""


def row(cls):
    """Lists a row."""
    ROWS.append(cls())
    return cls


class Scene:
    """The server of a row, and what was seen."""

    def __init__(self, row, fleet, server):
        self.row, self.fleet, self.server = row, fleet, server
        self.facts, self.wrong, self.notes = {}, [], []
        # The row has ended the server itself.
        self.ended = False

    @property
    def process(self):
        return self.fleet.running[0]

    @property
    def data(self):
        return os.path.join(self.fleet.directory, "member-1")

    def expect(self, holds, what):
        if not holds:
            self.wrong.append(what)
        return holds

    def note(self, text):
        self.notes.append(text)

    @property
    def proven(self):
        return [f"{what} {self.facts.get(what, 0)} < {least}" for what, least in self.row.proof.items()
                if self.facts.get(what, 0) < least]


class Attack:
    """The process of an attack, and what it says."""

    def __init__(self, scene, program, address):
        self.scene = scene
        self.process = subprocess.Popen(
            [sys.executable, "-B", program, "--attack", scene.row.name, address], stdout=subprocess.PIPE, env=environment(),
            stdin=subprocess.DEVNULL,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.scene.facts.update(json.loads(line))

    def wait_active(self):
        """Until the fault is proven; an attack that cannot be proven is judged at its end."""
        deadline = time.monotonic() + min(ACTIVE_SECONDS, self.scene.row.seconds / 2)
        while self.scene.proven and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)

    def wait(self):
        try:
            code = self.process.wait(self.scene.row.seconds + 60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.reader.join()
        self.scene.expect(code == 0, f"the attack itself ended with {code}")

    def kill(self):
        self.process.kill()
        self.process.wait()
