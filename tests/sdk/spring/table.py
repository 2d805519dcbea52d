"""Results: kept in a file per build directory, and written as a table."""

import json
import os

from harness.clients import TARGET
from releases import RELEASES
from scene import CLUSTER_ONLY, STEPS

PATH = os.path.join(TARGET, "spring.json")
BEGIN = "<!-- spring table: begin (make test-spring) -->"
END = "<!-- spring table: end -->"
MODES = {"standalone": "standalone", "cluster": "three members"}
# Steps whose detail is a measurement that the table shows.
MEASURED = ("refresh", "deaths", "restore", "appear", "deregister")


def load():
    try:
        with open(PATH) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def store(release, mode, steps):
    kept = load()
    kept.setdefault(release.name, {})[mode] = steps
    with open(PATH, "w") as file:
        json.dump(kept, file, indent=1, ensure_ascii=False)


def cell(results, release, mode, step):
    if mode == "standalone" and step in CLUSTER_ONLY:
        return "–"
    if step in release.known:
        return "fails (Spring)"
    found = results.get(release.name, {}).get(mode, {}).get(step)
    if found is None:
        return "not run"
    if not found["ok"]:
        return "**fails**"
    return f"ok: {found['detail']}" if step in MEASURED else "ok"


def markdown(results):
    columns = [(release, mode) for release in RELEASES for mode in MODES]
    lines = [
        "| step | " + " | ".join(f"{release.name}, {MODES[mode]}" for release, mode in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for step, meaning in STEPS.items():
        cells = [cell(results, release, mode, step) for release, mode in columns]
        lines.append(f"| {step}: {meaning} | " + " | ".join(cells) + " |")
    reasons = [f"- {release.name}, {step}: {reason}." for release in RELEASES for step, reason in release.known.items()]
    return "\n".join([*lines, "", "Why a step fails because of Spring:", "", *reasons])


def write(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path} has no place for the table")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{markdown(load())}\n{END}{after}")
