"""Packages that do not go together: two that own one module, two CUDAs in one process."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from .report import Finding

#: Distributions of which one may be installed, besides CuPy's (its backend says so).
ONE_OF = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")}
#: NVIDIA's wheels whose own version is CUDA's, where no -cu12 behind the name says it.
NUMBERED = re.compile(r"nvidia-(cuda-\w+|nvjitlink|nvvm)$|cuda-toolkit$")
#: Packages of which two versions on the path explain much.
WATCHED = ("numpy", "torch", "numba", "llvmlite", "numba-cuda", "cuda-bindings", "refconv")

Installed = dict[str, set[str]]


def installed(distributions: Iterable[Any] | None = None) -> Installed:
    """Distribution → versions, of everything on the path: more than one where two lie behind one
    another.
    """
    found: Installed = defaultdict(set)
    for one in metadata.distributions() if distributions is None else distributions:
        name = one.metadata["Name"]
        if name:
            found[re.sub(r"[-_.]+", "-", name).lower()].add(one.version)
    return found


def check(there: Installed, torch: Any) -> Iterator[Finding]:
    """What is wrong with what is installed; nothing where nothing is.

    Args:
        torch: the module, or None.
    """
    for name in WATCHED:
        if len(there.get(name, ())) > 1:
            both = " and ".join(sorted(there[name]))
            fix = f"pip uninstall {name}, as often as it takes; then install it once"
            yield Finding("warning", name, f"{both} are both on the path; the first wins", fix)
    for module, names in ONE_OF.items():
        found = [name for name in names if name in there]
        if len(found) > 1:
            text = f"{' and '.join(found)} are installed, and overwrite each other"
            fix = f"pip uninstall {' '.join(found)}; then install one"
            yield Finding("warning", module, text, fix)
    yield from _cudas(there, torch)


def _cudas(there: Installed, torch: Any) -> Iterator[Finding]:
    """Whether all that brings a CUDA brings the same one."""
    majors = wheels(there)
    wanted = wants(there, torch)
    if len(set(wanted.values())) > 1:
        built = ", ".join(f"{who} for CUDA {major}" for who, major in wanted.items())
        keep = wanted.get("torch") or max(wanted.values())
        fix = f'uninstall what is for another CUDA; then pip install "refconv[cuda{keep}]"'
        yield Finding("warning", "CUDA", f"two CUDAs in one process: {built}", fix)
    elif len(majors) > 1:
        sides = "; ".join(f"of {m}: {', '.join(names[:4])}" for m, names in sorted(majors.items()))
        used = next(iter(wanted.values()), max(majors))
        loose = [name for major, names in majors.items() if major != used for name in names]
        fix = f"pip uninstall {' '.join(loose)} (nothing here is built for them)"
        yield Finding("warning", "CUDA", f"wheels of several CUDAs are mixed: {sides}", fix)


def wheels(there: Installed) -> dict[int, list[str]]:
    """Major version of CUDA → NVIDIA's wheels of it.

    Example:
        >>> wheels({"nvidia-cublas-cu12": {"12.4"}, "nvidia-nvvm": {"13.0.88"}, "numpy": {"2.0"}})
        {12: ['nvidia-cublas-cu12'], 13: ['nvidia-nvvm']}
    """
    found: dict[int, list[str]] = defaultdict(list)
    for name in sorted(there):
        suffix = re.search(r"^nvidia-.*-cu(\d\d)$", name)
        if suffix:
            found[int(suffix[1])].append(name)
        elif NUMBERED.match(name):
            found[int(min(there[name]).partition(".")[0])].append(name)
    return dict(found)


def wants(there: Installed, torch: Any) -> dict[str, int]:
    """Who is built for which major version of CUDA."""
    found = {}
    if torch is not None and torch.version.cuda:
        found["torch"] = int(torch.version.cuda.partition(".")[0])
    for name in there:
        wheel = re.match(r"cupy-cuda(\d+)x$", name)
        if wheel:
            found[name] = int(wheel[1])
    if "numba-cuda" in there and "cuda-bindings" in there:
        found["numba-cuda"] = int(min(there["cuda-bindings"]).partition(".")[0])
    return found
