"""What cases ask the members of a fleet: who leads, who they are, and what they wrote into their logs."""

import json
import os
import subprocess

from common.servers import until
from common.web import Server


def metrics(fleet, at):
    """The metrics of a member: each line's name with its labels, and the value."""
    text = Server(fleet.addresses[at])._ask("GET", "/metrics").text
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def leader_of(fleet, among=None):
    """The member that leads."""

    def leading():
        found = [at for at in among or range(len(fleet.addresses)) if metrics(fleet, at).get("dyad_raft_is_leader") == 1]
        return [found[0]] if len(found) == 1 else None

    return until("one member leads", leading, 20)[0]


def status(fleet, at):
    """What `dyad cluster status --output json` says of a member. Its exit code is 1 while something is wrong."""
    data = os.path.join(fleet.directory, f"member-{at + 1}")
    output = subprocess.run(
        [fleet.binary, "cluster", "status", "--output", "json", "--data-dir", data], capture_output=True, text=True, check=False, timeout=20,
    )
    told = json.loads(output.stdout)
    assert output.returncode == (0 if told["healthy"] else 1), output
    return told


def member_id(fleet, at):
    return status(fleet, at)["member_id"]


def log_path(fleet, at):
    return os.path.join(fleet.directory, f"member-{at + 1}.log")


def log_size(fleet, at):
    return os.path.getsize(log_path(fleet, at))


def log_from(fleet, at, offset):
    """The log of a member behind a place of it."""
    with open(log_path(fleet, at), errors="replace") as file:
        file.seek(offset)
        return file.read()


def versions(server, data_id):
    """The versions in the history of a configuration, the newest first."""
    query = {"search": "accurate", "dataId": data_id, "group": "G", "pageNo": 1, "pageSize": 100}
    return server.call("GET", "/v1/cs/history", query).json()["pageItems"]
