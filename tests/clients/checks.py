"""One line for each check, as `run` counts them: `passed CLIENT: WHAT` or `FAILED CLIENT: WHAT: WHY`."""

import sys
import traceback


class Checks:
    """The checks of one client library."""

    def __init__(self, client):
        self.client = client
        self.failed = 0

    def passed(self, what):
        print(f"passed {self.client}: {what}", flush=True)

    def failed_by(self, what, error):
        self.failed += 1
        why = " ".join(str(error).split()) or type(error).__name__
        where = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in where if "/tests/clients/" in frame.filename]
        line = f" (line {own[-1].lineno})" if own else ""
        print(f"FAILED {self.client}: {what}: {why}{line}", flush=True)

    def end(self):
        sys.exit(1 if self.failed else 0)


def equal(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def in_order(names, expected):
    """Every expected name is there, in this order; others may stand between them."""
    rest = iter(names)
    missing = [name for name in expected if name not in rest]
    assert not missing, f"{missing} does not follow in {names}"
