"""Runs a program again inside a virtual environment of its own below target/, which is made when it is not there."""

import os
import subprocess
import sys


def enter(home, *packages):
    """Goes on only inside the environment `home` with exactly these packages, given as "name==version"."""
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        return
    mark, wanted = os.path.join(home, "installed"), "\n".join(packages)
    if not os.path.exists(mark) or _read(mark) != wanted:
        subprocess.run(["python3", "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        with open(mark, "w") as file:
            file.write(wanted)
    os.execv(python, [python, "-B", *sys.argv])


def _read(path):
    with open(path) as file:
        return file.read()
