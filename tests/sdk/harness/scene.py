"""All chosen drivers at once against one server or cluster. What one asks for itself is done at once; a kill or a restart
of a member is done when every driver that still runs has come to that point."""

import os
import queue
import threading

from harness.driver import DETAIL, Driver

# Longest time between two lines of a driver: the slowest step waits for an expiry (30 s) more than once.
SILENCE_SECONDS = 150


class Barrier:
    """Each action is carried out once, when all that still run have asked for it."""

    def __init__(self, count, act):
        self.condition = threading.Condition()
        self.running = count
        self.act = act
        self.waiting = {}
        self.completed = {}

    def reach(self, action):
        with self.condition:
            self.waiting[action] = self.waiting.get(action, 0) + 1
            self._try()
            self.condition.wait_for(lambda: action in self.completed)
            if self.completed[action]:
                raise self.completed[action]

    def leave(self):
        with self.condition:
            self.running -= 1
            self._try()

    def _try(self):
        for action in [name for name, count in self.waiting.items() if count >= self.running]:
            if action in self.completed:
                continue
            try:
                self.act(action)
                self.completed[action] = None
            except BaseException as error:  # noqa: every waiting thread has to see it
                self.completed[action] = error
            self.condition.notify_all()


def play(mode, fleet, clients, home):
    """Runs `mode` of every client; gives back {client name: {step: {ok, detail}}}."""

    def act(action):
        what, _, at = action.partition("-")
        at = int(at or 1) - 1
        if what in ("kill", "restart"):
            fleet.kill(at)
        if what in ("revive", "restart"):
            fleet.start(at)

    barrier = Barrier(len(clients), act)
    results = {client.name: {} for client in clients}
    threads = [
        threading.Thread(target=_follow, args=(client, mode, fleet, os.path.join(home, client.name), barrier, results))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _follow(client, mode, fleet, home, barrier, results):
    steps = results[client.name]
    driver = Driver(client, mode, fleet.addresses, os.path.join(home, mode), skip=[*client.absent, *client.later])
    held = []
    try:
        while (said := driver.next(SILENCE_SECONDS)) is not None:
            if "step" in said:
                steps[said["step"]] = {"ok": said["ok"] is True, "detail": str(said.get("detail"))[:DETAIL]}
            elif said.get("ask") == "hold":
                home_of_held = os.path.join(home, f"held-{len(held)}")
                args = (said["service"], said["ip"], str(said["port"]))
                holder = Driver(client, "hold", fleet.addresses, home_of_held, *args)
                held.append(holder)
                driver.done()
            elif said.get("ask") == "kill-held":
                held[-1].kill()
                driver.done()
            elif "ask" in said:
                barrier.reach(said["ask"])
                driver.done()
    except queue.Empty:
        steps["ended"] = {"ok": False, "detail": f"no line for {SILENCE_SECONDS} s"}
    except BaseException as error:  # noqa: becomes a result
        steps["ended"] = {"ok": False, "detail": f"{type(error).__name__}: {error}"[:DETAIL]}
    finally:
        barrier.leave()
        for process in [driver, *held]:
            process.kill()
    if not steps:
        steps["ended"] = {"ok": False, "detail": driver.errors()[-DETAIL:]}
