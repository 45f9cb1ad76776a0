"""What was measured to be fastest on this machine: one JSON file, read where that is opted in.

The file stands in the user's cache folder, one a CPU model (``~/.cache/refconv/tune-<cpu>.json``),
or where the environment variable REFCONV_TUNE says. Setting that variable opts in, as
``refconv.use_tuning(True)`` does. ``tuning`` writes the file; what cannot be read is ignored, with
one warning.
"""

from __future__ import annotations

import json
import os
import platform
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

VARIABLE = "REFCONV_TUNE"
SCHEMA = 1

#: What the program said with ``use_tuning``; None: the environment decides.
wanted: bool | None = None


def is_used() -> bool:
    """Whether choices follow the measurements."""
    return bool(os.environ.get(VARIABLE)) if wanted is None else wanted


def path() -> Path:
    """The file of this machine."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "refconv" / f"tune-{_cpu()}.json"


def _cpu() -> str:
    """The CPU's model as part of a file name."""
    name = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        name = found[1] if found else name
    except OSError:
        pass
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"


def key(problem: Any, slot: str, accuracy: str, threads: int) -> str:
    """The line that an entry is found by."""
    from . import label  # only where it is needed: every notation comes with it

    return f"{label.format(problem)} | {slot} | {accuracy} | {threads}"


def fastest(problem: Any, slot: str, accuracy: str, threads: int) -> str | None:
    """``backend:algorithm`` that was measured to be fastest, if that is opted in and known."""
    if not is_used():
        return None
    return _read(path()).get(key(problem, slot, accuracy, threads))


def remember(entries: dict[str, str]) -> Path:
    """Add entries (key → ``backend:algorithm``) to the file, and return where that is."""
    where = path()
    _read.cache_clear()
    known = {**_read(where), **entries}
    where.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, "fastest": known}, indent=1, sort_keys=True)
    new = where.with_name(f"{where.name}.{os.getpid()}")
    new.write_text(text + "\n")
    os.replace(new, where)  # at once: another process reads the old file or the new one
    _read.cache_clear()
    return where


def forget() -> None:
    """Read the file again when it is next needed."""
    _read.cache_clear()


@lru_cache(maxsize=4)
def _read(where: Path) -> dict[str, str]:
    """The entries of a file; none where there is no file, or none that can be understood."""
    try:
        found = json.loads(where.read_text())
        if found["schema"] != SCHEMA:
            raise ValueError(f"its schema is {found['schema']!r}, not {SCHEMA}")
        entries = found["fastest"]
        if not all(isinstance(v, str) for v in entries.values()):
            raise TypeError("an entry is not a string")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        warnings.warn(
            f"refconv: the tuning file {where} cannot be used ({type(error).__name__}: {error}); "
            "choices follow predictions. Delete it, or run refconv.tune again to write a new one",
            RuntimeWarning,
            stacklevel=2,
        )
        return {}
    return entries
