"""benchdnn batch files: option lines that hold until ``--reset``, problems, other batch files.

An option with several values stands for a problem each. The driver is the one that is named
(``--deconv``), or that the file's path names (``inputs/pool/shapes_2d``), or what the problem's
fields say. Options that change where or how fast a problem is computed, but not what, are passed
over; those that change what is computed (post-operations, scales, mixed dtypes) cannot be
expressed. A bias is there only where ``--dir`` says so (FWD_B, BWD_WB).

Source: oneDNN, tests/benchdnn/doc/driver_conv.md, driver_pool.md, knobs_common.md, knobs_attr.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from ... import notation_benchdnn
from ...errors import RefconvError, UsageError
from ...notation import Problem, near
from .reading import Entry

#: Options of which each value is a problem of its own, and the value if none is given.
_VARIED = {"dt": "", "cfg": "", "dir": "", "alg": "", "mb": "0"}
#: Options of where, how often, or in which layout: the problem is the same.
_PASSED = re.compile(
    r"(?:stag|wtag|dtag|tag|strides|match|mode|skip-impl|impl|allow-\w+|canonical|verbose|v\d*"
    r"|engine|fast-ref.*|fix-times.*|max-ms.*|repeats.*|perf-template|mem-check|memory-kind"
    r"|cold-cache|inplace|cpu-isa-hints|num-streams|summary|ctx-\w+|global-impl|start|batch-reset"
    r"|attr-scratchpad|attr-deterministic|attr-fpmath|attr-acc-mode|runtime-dim-mask|execution-mode"
    r"|bia[-_]dt|bia[-_]mask)(?:-[\w-]+)?"
)
_ALG = {
    "max": "max",
    "avg_np": "avg_np",
    "avg_p": "avg_p",
    "pooling_max": "max",
    "pooling_avg_exclude_padding": "avg_np",
    "pooling_avg_include_padding": "avg_p",
}
_CFG = {"f32": "f32", "f16": "f16", "f64": "f64", "bf16bf16bf16": "bf16", "f32_wino": "f32"}


@dataclass
class _State:
    """What the lines so far have set.

    Args:
        changes: options that change what is computed.
    """

    driver: str | None
    dtype: str
    values: dict[str, list[str]] = field(default_factory=dict)
    changes: dict[str, list[str]] = field(default_factory=dict)
    open_files: tuple[Path, ...] = ()


def entries(path: Path, text: str, dtype: str) -> Iterator[Entry]:
    """The problems of a batch file, in its order."""
    yield from _lines(path, text, _State(_driver(path), dtype, open_files=(path.resolve(),)), "")


def _driver(path: Path) -> str | None:
    """The driver that the file's name, or its folder's, has as a word."""
    for part in (path.name, path.resolve().parent.name):
        words = re.split(r"[^a-z0-9]+", part.lower())
        named = [driver for driver in notation_benchdnn.DRIVERS if driver in words]
        if len(named) == 1:
            return named[0]
    return None


def _lines(path: Path, text: str, state: _State, inside: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{inside}line {number}"
        line = re.split(r"\s#|^\s*#", line)[0].strip()
        for word in line.split():
            if not word.startswith("--"):
                yield from _problem(where, word, state)
            elif word.startswith("--batch="):
                yield from _batch(where, word.partition("=")[2], path, state, inside)
            elif refusal := _option(word, state):
                yield Entry(where, word, refusal)


def _option(word: str, state: _State) -> str:
    """Take an option over; the reason where that cannot be."""
    key, _, value = word[2:].partition("=")
    value = value.strip("'\"")
    if key == "reset":
        state.values.clear()
        state.changes.clear()
    elif key in notation_benchdnn.DRIVERS:
        state.driver = key
    elif key in _VARIED:
        state.values[key] = value.split(",")
    elif key.startswith("attr-") and not _PASSED.fullmatch(key):
        state.changes[key] = [way.strip("'\"") for way in value.split(",")]
        if not any(state.changes[key]):
            del state.changes[key]
    elif not _PASSED.fullmatch(key):
        known = [f"--{name}=" for name in (*_VARIED, "batch", "attr-post-ops")]
        return f"refconv does not know what this option does{near(word, known)}"
    return ""


def _problem(where: str, text: str, state: _State) -> Iterator[Entry]:
    """The problem with every combination of the options' values: each that differs, once."""
    values = [state.values.get(key, [usual]) for key, usual in _VARIED.items()]
    seen: set[Problem | str] = set()
    for given in product(*values):
        made: Problem | str
        name, count = "", 1
        try:
            name, count = notation_benchdnn.name(text)
            words = " ".join([*_settings(*given), text])
            made = notation_benchdnn.parse(words, driver=state.driver, dtype=state.dtype)
        except RefconvError as error:
            made = re.sub(r" in '[^']*'$|'[^']*' (?=\S)", "", str(error))  # the text is beside it
        changed = [key for key, ways in state.changes.items() if all(ways)]
        if made not in seen and not changed:
            seen.add(made)
            yield Entry(where, text, made, name, count)
    for key, ways in state.changes.items():
        for way in filter(None, ways):
            reason = f"--{key}={way} changes what is computed, and a problem here is the op alone"
            yield Entry(where, text, reason)


def _settings(dt: str, cfg: str, way: str, alg: str, mb: str) -> list[str]:
    """Options in front of a problem, as ``notation_benchdnn`` reads them.

    Raises:
        UsageError: the dtypes of input, weight and output differ, or are not torch's.
    """
    words = []
    kinds = {*(dt or _CFG.get(cfg, cfg)).split(":")} - {""}
    if kinds:
        if len(kinds) > 1 or not kinds <= set(notation_benchdnn.DTYPES):
            option = f"--dt={dt}" if dt else f"--cfg={cfg}"
            raise UsageError(f"{option}: refconv's problems have one dtype, of torch's")
        words.append(f"--dt={kinds.pop()}")
    words += ["--dir=FWD_B"] if way in ("FWD_B", "BWD_WB") else []
    words += [f"--alg={_ALG.get(alg.lower(), 'direct')}"] if alg else []
    words += [f"--mb={mb}"] if mb not in ("", "0") else []
    return words


def _batch(where: str, name: str, path: Path, state: _State, inside: str) -> Iterator[Entry]:
    """The problems of another batch file, under the options that hold here."""
    beside = [path.parent / name, path.parent.parent / name, path.parent / Path(name).name]
    found = next((p for p in beside if p.is_file()), None)
    if found is None:
        yield Entry(where, f"--batch={name}", f"no such file beside {path.name}")
    elif found.resolve() in state.open_files:
        yield Entry(where, f"--batch={name}", "the file includes itself")
    else:
        around = state.open_files
        state.open_files = (*around, found.resolve())
        driver, state.driver = state.driver, state.driver or _driver(found)
        yield from _lines(found, found.read_text("utf-8"), state, f"{found.name} ")
        state.driver, state.open_files = driver, around
