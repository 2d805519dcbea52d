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
    steps = {name: step for name, step in steps.items() if name not in client.known}
    wrong = [f"{name}: {steps[name]['detail']}" for name in steps if not steps[name]["ok"]]
    wrong += [f"{name}: did not happen" for name in expected if name not in steps]
    wrong += [f"{name}: passed, but is listed as missing" for name in steps if name not in expected and steps[name]["ok"]]
    return wrong


def cell(client, mode, step, results):
    if step in client.absent:
        return "–"
    if step in client.later:
        return "later"
    if step in client.known:
        return "fails (SDK)"
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
    return "\n".join([*lines, "", "Why an SDK does not have a step, or fails it for a reason of its own:", "", *reasons()])


def reasons():
    """A line per reason, with the clients and steps that it holds for."""
    found = {}
    for client in CLIENTS:
        for step, reason in (client.absent | client.known).items():
            found.setdefault(reason, {}).setdefault(step, []).append(client.name)
    lines = []
    for reason, steps in found.items():
        names = list(dict.fromkeys(name for clients in steps.values() for name in clients))
        who = ", ".join(names) if len(names) <= 4 else f"{len(names)} clients"
        what = ", ".join(steps) if len(steps) <= 4 else f"{len(steps)} steps"
        lines.append(f"- {what} of {who}: {reason}")
    later = {reason: [] for client in CLIENTS for reason in client.later.values()}
    for step, reason in CLIENTS[0].later.items():
        later[reason].append(step)
    return lines + [f"- {', '.join(steps)} of the others: {reason}" for reason, steps in later.items()]


def write(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{markdown(load())}\n{END}{after}")
