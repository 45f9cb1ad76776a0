"""The algorithms of a slot, for tests that run on each."""

from __future__ import annotations

from typing import Any

from refconv import backends


def named(slot: str, backend: str = "numba") -> list[str]:
    """``backend:algorithm`` of everything that fills ``slot``."""
    return [f"{backend}:{a.name}" for a in backends.get(backend).slots[slot]]


def find(slot: str, name: str) -> Any:
    """The Algorithm called ``backend:algorithm``."""
    backend, _, algorithm = name.partition(":")
    return next(a for a in backends.get(backend).slots[slot] if a.name == algorithm)
