"""What ``refconv doctor`` found: findings, the self-test, facts; and what they add up to."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

SCHEMA = "refconv.doctor/1"
#: ``note``: something is not here, and nothing is wrong with that.
STATES = ("ok", "note", "warning", "failed")
REPORT_IT = "refconv doctor --issue makes a bug report"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        state: one of ``STATES``.
        topic: a word or two: what this is about.
        text: what was found.
        fix: what to do; every warning and failure has one.
    """

    state: str
    topic: str
    text: str
    fix: str = ""

    def __post_init__(self) -> None:
        assert self.state in STATES, self.state
        assert self.fix or self.state in ("ok", "note"), f"no fix: {self.text}"


@dataclass(frozen=True)
class Outcome:
    """The cs231n example on one backend.

    Args:
        state: ``equal``, ``wrong``, ``failed`` (it raised), or ``skipped``.
        text: the first number that differs, the error, or why it did not run.
        passes: what was compared, ``forward`` and ``backward``.
        seconds: the first call, with all that is imported and compiled for it.
    """

    backend: str
    device: str
    state: str
    text: str = ""
    passes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All of it. Texts have neither a home folder nor a user's name in them.

    Args:
        facts: what a bug report needs: versions, processor, GPUs, backends, precision, variables.
    """

    findings: Sequence[Finding]
    tests: Sequence[Outcome]
    facts: dict[str, Any] = field(default_factory=dict)

    def of(self, state: str) -> list[Finding]:
        """The findings of a state."""
        return [found for found in self.findings if found.state == state]

    def tested(self, state: str) -> list[str]:
        """Names of the backends that the self-test left in a state; the device where it is not the
        backend's own.
        """
        return [
            t.backend if t.device == "cpu" or t.backend != "torch" else f"torch on {t.device}"
            for t in self.tests
            if t.state == state
        ]

    @property
    def exit_code(self) -> int:
        """1: a wrong result; 3: something that was asked for, or is installed, does not work."""
        if self.tested("wrong"):
            return 1
        return 3 if self.of("failed") or self.tested("failed") else 0

    @property
    def headline(self) -> str:
        """The verdict in a line; what was skipped is not counted as passed."""
        equal, skipped = self.tested("equal"), self.tested("skipped")
        rest = f"; not run: {', '.join(skipped)}" if skipped else ""
        warnings = len(self.of("warning"))
        many = f"{warnings} warning{'s' * (warnings != 1)}"
        if self.exit_code == 1:
            return f"✘ WRONG: {', '.join(self.tested('wrong'))} computed the cs231n example wrongly"
        if self.exit_code:
            names = dict.fromkeys([f.topic for f in self.of("failed")] + self.tested("failed"))
            faults = f"{len(names)} fault{'s' * (len(names) != 1)}"
            more = f", {many}" if warnings else ""
            return f"✘ {faults}{more}: {', '.join(names)}{rest}"
        works = f"the cs231n example is exact on {len(equal)} of {len(equal)}"
        return f"✔ {f'works, {many}: ' if warnings else 'all right: '}{works}{rest}"

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "schema": SCHEMA,
            "verdict": self.headline,
            "exit_code": self.exit_code,
            "facts": self.facts,
            "findings": [asdict(found) for found in self.findings],
            "self_test": [asdict(test) for test in self.tests],
        }


def private(value: Any, home: str = "", user: str = "") -> Any:
    """``value`` with the home folder as ``~`` and the user's name left out, wherever text is in it.

    Example:
        >>> private({"a": ["/people/ada/x", "/data/ada/y", "adapted"]}, "/people/ada", "ada")
        {'a': ['~/x', '/data/<user>/y', 'adapted']}
    """
    home, user = home or str(Path.home()), user or _user()
    if isinstance(value, str):
        if len(home) > 1:
            value = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", value)
        return re.sub(rf"(?<=[/@]){re.escape(user)}(?![\w.-])", "<user>", value) if user else value
    if isinstance(value, dict):
        return {key: private(item, home, user) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(private(item, home, user) for item in value)
    return value


def cleaned(report: Report) -> Report:
    """The report without what is private."""
    findings = [replace(f, text=private(f.text), fix=private(f.fix)) for f in report.findings]
    tests = [replace(t, text=private(t.text)) for t in report.tests]
    return Report(findings, tests, private(report.facts))


def _user() -> str:
    """The user's name; empty where there is none, and of root, which names nobody."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
    return "" if name == "root" else name


def lines_of(error: BaseException, most: int = 200) -> str:
    """An exception in one line: its kind, and its message, cut."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:most]}{'…' if len(said) > most else ''}"


def reasoned(state: str, topic: str, reason: str, otherwise: str = REPORT_IT) -> Finding:
    """A backend's reason as a finding: what it says in parentheses last is the fix; ``otherwise``
    is, where it says nothing.

    Example:
        >>> reasoned("note", "cupy", "CuPy is not installed (pip install it)").fix
        'pip install it'
    """
    text, found, fix = reason.rpartition(" (")
    if not found or not reason.endswith(")"):
        text, fix = (
            reason,
            "" if state in ("ok", "note") else otherwise,
        )
    return Finding(state, topic, text, fix.removesuffix(")"))
