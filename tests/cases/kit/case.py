"""The list of cases, and how one of them is run.

A case is a function that raises where the server is wrong. Its first paragraph says what the right behaviour is. It gets the
server that all cases share, or, when it asks for servers of its own, a `Fleet` of them."""

import dataclasses
import time
import traceback
import typing

# Characters of an explanation that are shown.
DETAIL = 600

CASES = []


@dataclasses.dataclass
class Case:
    run: typing.Callable
    # How many servers of its own the case wants, with these flags; none: it takes the one that all share.
    members: int
    flags: tuple

    @property
    def name(self):
        return self.run.__name__

    @property
    def suite(self):
        return self.run.__module__.rpartition(".")[2]

    @property
    def rule(self):
        """The first paragraph of what the case says about itself."""
        return " ".join((self.run.__doc__ or "").strip().split("\n\n")[0].split())


@dataclasses.dataclass
class Result:
    case: Case
    seconds: float
    # Empty when the server is right.
    wrong: str


def case(run=None, *, members=0, flags=()):
    """Lists a function as a case."""

    def listed(function):
        CASES.append(Case(function, members, tuple(flags)))
        return function

    return listed(run) if run else listed


def judge(one, *args):
    """Runs a case; an error of any kind is its result."""
    began = time.monotonic()
    try:
        one.run(*args)
        wrong = ""
    except Exception as error:  # noqa: becomes a result
        wrong = _explain(error)
    return Result(one, time.monotonic() - began, wrong)


def _explain(error):
    """The line of the case that failed, and what it saw."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/suites/" in frame.filename] or frames
    where = own[-1]
    what = str(error) or type(error).__name__
    if not isinstance(error, AssertionError):
        what = f"{type(error).__name__}: {what}"
    return f"line {where.lineno}: {where.line}\n{what}"[:DETAIL]
