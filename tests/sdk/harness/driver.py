"""One driver process: it prints a JSON line per step, and asks the runner for what it cannot do itself.

The protocol, one JSON object per line on the driver's standard output:

- {"step": NAME, "ok": BOOL, "detail": TEXT}: a result.
- {"ask": WHAT, …}: the driver waits until the runner has done it and has written a line to its standard input.
- {"event": ["ip:port", …]}: a callback of a subscription (mode `hold` only).
"""

import json
import os
import queue
import subprocess
import threading

from common.servers import environment

END_SECONDS = 10
# Characters of a step's detail that are kept.
DETAIL = 300


class Driver:
    def __init__(self, client, mode, servers, home, *args, skip=()):
        os.makedirs(os.path.join(home, "tmp"), exist_ok=True)
        own = {
            "HOME": home,
            "TMPDIR": os.path.join(home, "tmp"),
            "SDK_SERVERS": ",".join(servers),
            "SDK_SKIP": ",".join(skip),
        }
        command = [part.replace("{home}", home) for part in client.command]
        self.client = client
        self.lines = queue.Queue()
        self.error_path = os.path.join(home, f"{mode}.err")
        with open(self.error_path, "ab") as errors:
            self.process = subprocess.Popen(
                [*command, mode, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=home,
                env=environment() | own, start_new_session=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # an SDK's own chatter
            if isinstance(said, dict):
                self.lines.put(said)
        self.lines.put(None)

    def next(self, seconds):
        """The next line; None at the end, `queue.Empty` when nothing comes."""
        return self.lines.get(timeout=seconds)

    def done(self):
        """Lets the driver go on after a question."""
        try:
            self.process.stdin.write(b"done\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended, which the reader sees

    def kill(self):
        """Ends the process and whatever it started, at once: the death of a client."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait(END_SECONDS)

    def errors(self, size=2000):
        with open(self.error_path, errors="replace") as file:
            return file.read()[-size:]
