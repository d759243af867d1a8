"""The process of one revision whose suite of pytest-benchmark is compared: one test at a time, held where it times something.

Each test runs twice. The first time it calls what it benchmarks once and must pass. The second time it stops inside
`benchmark(...)` and takes samples as the gate asks for them, by turns with the other revision's process, which stands at
the same place of the same test. It says what `worker` says, over the same lines of JSON.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import pytest
from _pytest.runner import runtestprotocol

from ..host.provenance import version_of
from .orphan import end_with_parent
from .sampling import Held

_OFF = {"benchmark_skip": False, "benchmark_only": False, "benchmark_disable": True, "benchmark_enable": False}
_OFF |= dict.fromkeys(("benchmark_json", "benchmark_save", "benchmark_autosave", "benchmark_compare", "benchmark_compare_fail"))
"""What a project may have among its default options, and what would time, write or compare beside the gate."""

_OURS = "ignore:Module already imported so cannot be rewritten; roofcast:pytest.PytestAssertRewriteWarning"
"""What pytest says of the plug-in that roofcast is too, since this module of it is running already."""


class Suite:
    """A plug-in of pytest that runs tests when it is asked to."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._requests, self._answers = requests, answers
        self._unread: dict[str, Any] | None = None
        self._broken: list[str] = []
        self._holds = False
        self._checkout = Path()
        self._uses = 0

    def pytest_configure(self, config: pytest.Config) -> None:
        """Has pytest-benchmark call what it is given once, and its fixture lead here."""
        for name, value in _OFF.items():
            setattr(config.option, name, value)
        # Imported before pytest looks at its plug-ins, pytest-benchmark would be warned of.
        from .interleaved import Fixture

        # The fixture that is registered last is the one that tests get.
        config.pluginmanager.register(Fixture(self))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remembers what could not be collected."""
        if report.failed:
            self._broken.append(f"{report.nodeid} cannot be collected: {_reason(report)}")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Answers requests until they end."""
        items = {item.nodeid: item for item in session.items if "benchmark" in getattr(item, "fixturenames", ())}
        for request in self._each():
            match request["do"]:
                case "open":
                    self._say(self._opened(request["question"], session, items))
                case "prepare":
                    self._run(items[request["kernel"]])
                case "release":
                    self._say({})
                case other:
                    self._say({"refusal": f"the test ended before it was asked to {other}"})
        return True

    def hold(self, held: Callable[[], Held]) -> None:
        """Stays inside a test and takes samples, until something else is asked for."""
        self._uses += 1
        if not self._holds:
            return
        ready = held()
        self._holds = False
        self._say({"status": "ok", "reason": "", "implementation": "", "exact": {}} | ready.answer())
        for request in self._each():
            match request["do"]:
                case "sample":
                    self._say({"seconds": ready.take(ready.calls)})
                case "repeat":
                    # What a test sets up for one call may be gone after it.
                    if not ready.is_direct:
                        ready.calls = request["calls"]
                    self._say(ready.answer())
                case _:
                    self._unread = request
                    return

    def _opened(self, question: Mapping[str, Any], session: pytest.Session, items: Mapping[str, Any]) -> dict[str, Any]:
        self._checkout = Path(question["checkout"])
        if self._broken:
            return {"refusal": self._broken[0]}
        if stranger := self._stranger():
            return {"refusal": stranger}
        return {
            # Each more than the whole budget: one test is held at a time.
            "kernels": dict.fromkeys(items, 1.0),
            "refused": {} if items else {question["suite"]: f"no test of {question['suite']} asks for the fixture benchmark"},
            "home": str(Path.cwd().resolve()),
            "host": {"python": platform.python_version()}
            | {name: version for name in ("pytest", "pytest-benchmark", "jax") if (version := version_of(name))},
            "dispatch_us": 0.0,
        }

    def _run(self, item: pytest.Item) -> None:
        self._uses = 0
        status, reason = _outcome(item)
        if status == "ok" and (stranger := self._stranger()):
            status, reason = "failed", stranger
        if status == "ok" and not self._uses:
            status, reason = "unsupported", "it passes without a call of benchmark"
        if status == "ok":
            self._holds = True
            status, reason = _outcome(item)
            if not self._holds:
                return
            self._holds = False
            status, reason = "failed", reason or "it called benchmark once and not again"
        self._say({"status": status, "reason": reason, "implementation": "", "exact": {}})

    def _stranger(self) -> str | None:
        """Says which file of the checkout was imported where the revision lies elsewhere, as by an editable installation."""
        here, kept = Path.cwd(), Path(sys.prefix)
        for module in list(sys.modules.values()):
            file = Path(getattr(module, "__file__", None) or os.devnull)
            if file.is_relative_to(self._checkout) and not (file.is_relative_to(here) or file.is_relative_to(kept)):
                return f"it imports {file}, which is the checkout's and not the revision's"
        return None

    def _each(self) -> Iterator[dict[str, Any]]:
        while True:
            if self._unread is not None:
                request, self._unread = self._unread, None
            elif line := self._requests.readline():
                request = json.loads(line)
            else:
                return
            yield request

    def _say(self, answer: Mapping[str, Any]) -> None:
        print(json.dumps(answer), file=self._answers, flush=True)


def _outcome(item: pytest.Item) -> tuple[str, str]:
    """Runs a test. How it ended, as the gate's words for kernels, and why."""
    reports = runtestprotocol(item, log=False, nextitem=None)
    for report in reports:
        if report.failed:
            return ("wrong" if report.when == "call" else "failed"), _reason(report)
        if report.skipped:
            return "unsupported", _reason(report)
    return "ok", ""


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """What went wrong, in a line."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else report.longreprtext).strip().splitlines()
    # A traceback ends with the error; its message begins with what was expected.
    return (lines or ["nothing was said"])[0 if crash else -1].removeprefix("E").strip()


def main() -> None:
    """Runs pytest with the arguments of the command line, answering requests from standard input until it ends."""
    # pytest takes both ends away from the tests that it runs.
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    end_with_parent()
    # Whose working tree it is would find folders in it that it has not made.
    sys.dont_write_bytecode = True
    arguments = [*sys.argv[1:], "-p", "no:cacheprovider", "-W", _OURS]
    if version_of("pytest-xdist"):
        arguments += ["-n", "0"]
    sys.exit(pytest.main(arguments, plugins=[Suite(requests, answers)]))


if __name__ == "__main__":
    main()
