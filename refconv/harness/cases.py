"""Cases: named problems, from the sets in ``bench/cases`` or from one problem in any notation.

A set is a text file: its first comment says what it is, and every line is ``name: problem   #
source``, where the problem is in any notation that ``label.read`` takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from .. import label, notation_benchdnn
from ..errors import DtypeError, RefconvError, UsageError
from ..notation import Problem, near

_LINE = re.compile(r"(?P<name>[\w.+/-]+):\s+(?P<text>.*)")


@dataclass(frozen=True)
class Case:
    """One problem with a name.

    Args:
        source: where it comes from, e.g. a paper or a model's definition; empty for a case that was
            typed.
        text: the problem as it was written.
        refused: why it cannot be run: its op is not defined for the dtype that was asked for.
    """

    name: str
    problem: Problem
    source: str
    text: str
    refused: str = ""


def load(
    spec: str, *, in_shape: str | Iterable[int] | None = None, dtype: str | None = None
) -> list[Case]:
    """The cases of a set (``resnet50``), one case of a set (``resnet50:conv1``), a file, or one
    problem.

    Args:
        in_shape: the input's shape, for a torch module.
        dtype: of every problem whose text names none; None means float32. Cases of a set that are
            not defined for it are ``refused``.

    Raises:
        UsageError: no such set, case or file, or a problem that cannot be understood.
        DtypeError: not one of the cases is defined for ``dtype``.

    Example:
        >>> [case] = load("classics:cs231n")
        >>> case.problem.output_shape
        (1, 2, 3, 3)
        >>> load("nn.Conv2d(6, 16, 5)", in_shape="1x6x14x14")[0].name
        'conv2d x[1,6,14,14] w[16,6,5,5] b'
    """
    spec = spec.strip()
    files = _files()
    name, colon, wanted = spec.partition(":")
    named = re.fullmatch(r"[\w-]+(:[\w.+/-]+)?", spec) and not notation_benchdnn.looks_like(spec)
    if named or name in files:
        if name not in files:
            return _some_defined([_by_name(spec, files, dtype)])
        cases = list(_read(name, files[name].read_text("utf-8"), dtype))
        chosen = [case for case in cases if not colon or case.name == wanted]
        if not chosen:
            known = [case.name for case in cases]
            raise UsageError(
                f"the set {name} has no case {wanted!r}{near(wanted, known)}; it has "
                f"{', '.join(known)}"
            )
        return _some_defined(chosen)
    if spec.endswith(".txt") and "(" not in spec:
        return _file(Path(spec), files, dtype)
    problem = label.read(spec, in_shape=in_shape, dtype=dtype or "float32")
    return [Case(_title(spec, problem), problem, "", spec)]


def with_batch(problem: Any, batch: int) -> Any:
    """The problem with another batch size; None where it has no batch axis."""
    if getattr(problem, "batch", None) is not None:
        return replace(problem, batch=batch)
    if len(getattr(problem, "lead", ())) == 2:
        return replace(problem, lead=(batch, problem.lead[1]))
    return None


def _by_name(spec: str, files: dict[str, Any], dtype: str | None) -> Case:
    """The case called ``spec``, whichever set it is in.

    Raises:
        UsageError: no set has it, or several do (they are listed).
    """
    found = {
        name: case
        for name, file in files.items()
        for case in _read(name, file.read_text("utf-8"), dtype)
        if case.name == spec
    }
    if not found:
        raise UsageError(_unknown(spec, files))
    if len(found) > 1:
        choices = " or ".join(f"{name}:{spec}" for name in found)
        raise UsageError(f"several sets have a case {spec!r}: write {choices}")
    return next(iter(found.values()))


def sets() -> dict[str, str]:
    """Name → first comment line of every set of cases.

    Example:
        >>> "classics" in sets()
        True
    """
    return {
        name: file.read_text("utf-8").partition("\n")[0].lstrip("# ")
        for name, file in _files().items()
    }


def _files() -> dict[str, Any]:
    """The sets' files: those installed with refconv, else those of the checkout around it."""
    try:
        found = list(resources.files("refconv.cases").iterdir())
    except (ModuleNotFoundError, FileNotFoundError, TypeError):
        folder = Path(__file__).resolve().parents[2] / "bench" / "cases"
        found = list(folder.iterdir()) if folder.is_dir() else []
    named = {file.name.removesuffix(".txt"): file for file in found if file.name.endswith(".txt")}
    return dict(sorted(named.items()))


def _read(where: str, text: str, dtype: str | None) -> Iterator[Case]:
    """The cases of a file's text."""
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        problem_text, _, source = re.sub(r"^\s*#.*", "", line).partition(" #")
        if not problem_text.strip():
            continue
        named = _LINE.fullmatch(problem_text.strip())
        written = (named["text"] if named else problem_text).strip()
        try:
            problem, refused = _problem(written, dtype)
        except RefconvError as error:
            raise type(error)(f"{where}, line {number}: {error}") from None
        name = named["name"] if named else _title(written, problem)
        if name in seen:
            raise UsageError(f"{where}, line {number}: {name} is already on line {seen[name]}")
        seen[name] = number
        yield Case(name, problem, source.strip(), written, refused)


def _problem(text: str, dtype: str | None) -> tuple[Problem, str]:
    """The problem, and why it is not defined for ``dtype`` if the text names no dtype itself."""
    try:
        return label.read(text, dtype=dtype or "float32"), ""
    except DtypeError as error:
        if dtype is None:
            raise
        usual = label.read(text)  # the text's own dtype is refused here as well
        return replace(usual, dtype=dtype), f"--dtype {dtype}: {error}"


def _file(path: Path, files: dict[str, Any], dtype: str | None) -> list[Case]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{path} cannot be read: {reason}. {_unknown(path.stem, files)}") from None
    cases = list(_read(str(path), text, dtype))
    if not cases:
        raise UsageError(f"{path} holds no case; a line is, e.g., {_EXAMPLE}")
    return _some_defined(cases)


def _some_defined(cases: list[Case]) -> list[Case]:
    """The cases, unless every one is refused."""
    if all(case.refused for case in cases):
        raise DtypeError(cases[0].refused)
    return cases


def _title(text: str, problem: Problem) -> str:
    """benchdnn's name where the text has one, else the label."""
    if notation_benchdnn.looks_like(text):
        name, _ = notation_benchdnn.name(text)
        if name:
            return name
    return label.format(problem)


def _unknown(spec: str, files: dict[str, Any]) -> str:
    name = spec.partition(":")[0]
    hint = near(name, files) or "."
    listed = ", ".join(files) or "none (bench/cases is not there)"
    return (
        f"there is no set of cases {name!r}{hint} Sets: {listed}; or write one "
        f"problem, e.g. "
        "'conv2d x[1,3,32,32] w[6,3,5,5] b'"
    )


_EXAMPLE = "'first: conv2d x[1,3,32,32] w[6,3,5,5] b   # source'"
