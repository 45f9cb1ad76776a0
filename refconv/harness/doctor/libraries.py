"""What is installed: what refconv needs, what it can use besides, and what that would give."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ... import __version__
from ..versions import version
from .report import Finding, lines_of

NEEDED = ("numpy", "torch", "numba")
#: Module → its extra, and what it gives.
OPTIONAL = {
    "ray": ("ray", "check on many machines"),
    "matplotlib": ("report", "pictures of bench"),
    "jinja2": ("report", "HTML reports of bench"),
    "onnxruntime": ("peers", "bench --peers onnxruntime"),
    "jax": ("peers", "bench --peers jax"),
}
#: Told in a bug report besides.
TOLD = (
    "numpy", "torch", "numba", "llvmlite", "cupy", "cupy-cuda12x", "cupy-cuda13x", "numba-cuda",
    "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12", "nvidia-nvjitlink", "triton",
    "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-ml-py", "ray", "onnxruntime", "jax", "rich",
    "typer",
)  # fmt: skip


def load() -> tuple[dict[str, Any], dict[str, str]]:
    """What refconv needs, imported: name → module, and name → why it could not be."""
    found, failed = {}, {}
    for name in NEEDED:
        try:
            found[name] = import_module(name)
        except Exception as error:  # whatever breaks its import is what is to be told
            failed[name] = lines_of(error)
    return found, failed


def check(found: dict[str, Any], failed: dict[str, str]) -> Iterator[Finding]:
    """One line of what refconv needs, and one of what it can use besides."""
    parts = [f"refconv {__version__} · python {platform.python_version()}"]
    parts += [f"{name} {module.__version__}{_more(module)}" for name, module in found.items()]
    yield Finding("ok", "python", " · ".join(parts))
    for name, error in failed.items():
        again = "install" if find_spec(name) is None else "install --force-reinstall"
        yield Finding("failed", name, f"cannot be imported: {error}", f"pip {again} {name}")
    missing = {name: about for name, about in OPTIONAL.items() if find_spec(name) is None}
    here = ", ".join(name for name in OPTIONAL if name not in missing) or "none"
    lacks = "".join(
        f' · {name} is not (pip install "refconv[{extra}]": {what})'
        for name, (extra, what) in missing.items()
    )
    yield Finding("note" if missing else "ok", "optional", f"{here} installed{lacks}")


def _more(module: Any) -> str:
    """Threads, and how they are run."""
    if module.__name__ == "numpy":
        return ""
    count = module.get_num_threads()
    how = f", layer {layer(module)}" if module.__name__ == "numba" else ""
    return f" ({count} thread{'s' * (count != 1)}{how})"


def layer(numba: Any) -> str:
    """Numba's threading layer: the one that runs, else the one that is asked for."""
    try:
        return numba.threading_layer()
    except ValueError:  # nothing has run in parallel yet
        return f"{numba.config.THREADING_LAYER}, not started"


def versions() -> dict[str, str]:
    """Distribution → version, of those that matter."""
    return {name: known for name in TOLD if (known := version(name))}
