"""``refconv doctor``: why is it slow, different, or missing? What the machine has, one check a
file, and a self-test on numbers that are known.

Nothing here needs what it looks for: where torch, Numba or a driver is missing or broken, that is a
finding. Nothing is changed, and nothing private is told.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ... import __version__
from ...backends import registry, unavailable
from . import checkout, conflicts, gpus, libraries, limits, precision, selftest, usable, variables
from .driver import Driver, look
from .report import REPORT_IT, Finding, Outcome, Report, cleaned, lines_of

__all__ = ["Finding", "Outcome", "Report", "examine"]

#: Seconds of a backend's self-test that are told.
SLOW = 5.0


def examine(
    named: Sequence[str] = (),
    everything: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Look at everything; takes a few seconds, most of them for imports.

    Args:
        named: backends that must run here.
        everything: run the self-test where it takes longer too.
        say: told what takes long.

    Raises:
        UsageError: there is no backend of such a name.
    """
    found, failed = libraries.load()
    torch, driver = found.get("torch"), _driver()
    cores, threads = _cores(torch), torch.get_num_threads() if torch else 0
    usable_here = list(usable.check(named, bool(driver.gpus)))
    with selftest.compiling(say, "numba" in found) as compiled:
        tests = list(selftest.run(torch, named, everything))
    findings = [
        *_checked("libraries", lambda: libraries.check(found, failed)),
        *_checked("GPU", lambda: gpus.check(driver, torch)),
        *usable_here,
        *_checked("precision", lambda: precision.check(torch, bool(driver.gpus))),
        *_checked("packages", lambda: conflicts.check(conflicts.installed(), torch)),
        *_checked("variables", lambda: variables.check(os.environ, cores)),
        *_checked("limits", lambda: limits.check(cores, threads)),
        *_checked("checkout", checkout.check),
    ]
    if compiled:
        text = f"Numba compiled {len(compiled)} functions in {sum(compiled):.1f} s, once"
        findings.append(Finding("note", "compiled", f"{text}; from now on they are loaded"))
    findings += [
        Finding(
            "note",
            "self-test",
            f"{t.backend} took {t.seconds:.0f} s: it imports and compiles, once",
        )
        for t in tests
        if t.seconds > SLOW and not (compiled and t.backend == "numba")
    ]
    return cleaned(Report(findings, tests, facts(torch, driver)))


def _checked(topic: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A check's findings; a check that fails is one."""
    try:
        return list(check())
    except Exception as error:  # one broken check must not hide the others
        text = f"this check itself failed: {lines_of(error)}"
        return [Finding("failed", topic, text, REPORT_IT)]


def _driver() -> Driver:
    """The driver; or, if it cannot be asked, why."""
    try:
        return look()
    except Exception as error:  # a library of another kind than it should be
        return Driver(f"the driver cannot be asked: {lines_of(error)} (reinstall the driver)")


def _cores(torch: Any) -> int:
    """Processors that this process may use."""
    if torch is None:
        return os.cpu_count() or 1
    from ..environment import cores  # with torch

    return cores()


def facts(torch: Any, driver: Driver) -> dict[str, Any]:
    """What a bug report tells besides the findings."""
    found: dict[str, Any] = {
        "refconv": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": _cores(torch),
        "packages": libraries.versions(),
        "driver": driver.version,
        "driver_cuda": driver.cuda,
        "gpus": [
            {"name": g.name, "sm": g.sm, "multiprocessors": g.multiprocessors,
             "memory": g.memory, "free": g.free}
            for g in driver.gpus
        ],
        "backends": {name: unavailable(name) or "" for name in registry()},
        "precision": precision.facts(torch),
        "variables": variables.facts(os.environ),
    }  # fmt: skip
    if torch is None:
        return found
    from .. import environment

    return found | {
        "commit": environment.commit(),
        "cpu": environment.cpu_model(),
        "torch_cuda": torch.version.cuda or "",
        "torch_threads": torch.get_num_threads(),
    }
