"""Results: kept in a file per build directory, compared with what is expected, and written as a table."""

import json
import os

from harness.clients import CLIENTS, STEPS, TARGET

PATH = os.path.join(TARGET, "results.json")
BEGIN = "<!-- sdk table: begin (make test-sdk) -->"
END = "<!-- sdk table: end -->"
TITLES = {"standalone": "standalone", "cluster": "three members", "machinery": "the machinery of 1.x"}


def load():
    try:
        with open(PATH) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def store(results):
    """Results replace older ones of the same client and mode."""
    kept = load()
    for name, modes in results.items():
        kept.setdefault(name, {}).update(modes)
    os.makedirs(TARGET, exist_ok=True)
    with open(PATH, "w") as file:
        json.dump(kept, file, indent=1, ensure_ascii=False)


def judge(client, mode, steps):
    """What differs from the expectation, as lines: a step that failed, did not happen, or passed though it is not expected."""
    expected = client.expected(mode)
    wrong = [f"{name}: {steps[name]['detail']}" for name in steps if not steps[name]["ok"]]
    wrong += [f"{name}: did not happen" for name in expected if name not in steps]
    wrong += [f"{name}: passed, but is listed as missing" for name in steps if name not in expected and steps[name]["ok"]]
    return wrong


def cell(client, mode, step, results):
    if step in client.absent:
        return "–"
    if step in client.later:
        return "later"
    steps = results.get(client.name, {}).get(mode)
    if steps is None:
        return "not run"
    return "ok" if steps.get(step, {}).get("ok") else "**fails**"


def markdown(results):
    lines = [
        "| step | " + " | ".join(client.name for client in CLIENTS) + " |",
        "|---|" + "---|" * len(CLIENTS),
    ]
    for mode, steps in STEPS.items():
        lines.append(f"| *{TITLES[mode]}* |" + " |" * len(CLIENTS))
        for step in steps:
            cells = [cell(client, mode, step, results) for client in CLIENTS]
            lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{markdown(load())}\n{END}{after}")
