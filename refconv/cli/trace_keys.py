"""Keys of a terminal, one at a time, with the standard library alone."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: What a terminal sends for keys that have no character; and how they are called here.
NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
    b"\r": "enter", b"\n": "enter", b"\x7f": "back", b"\x08": "back", b"\x1b": "escape",
    b"\x04": "q", b"": "q",
}  # fmt: skip
#: Seconds in which the rest of a key's bytes comes.
REST = 0.05


def interactive() -> bool:
    """Whether keys can be read and answered: both ends are a terminal, and the system has one."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        return False
    try:
        import termios  # noqa: F401
    except ImportError:  # no POSIX
        return False
    return True


@contextmanager
def keys() -> Iterator[Iterator[str]]:
    """An endless iterator of keys; the terminal is as it was when this ends, however it ends."""
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield _read(fd)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _read(fd: int) -> Iterator[str]:
    while True:
        got = os.read(fd, 1)
        while got[:1] == b"\x1b" and len(got) < 3 and select.select([fd], [], [], REST)[0]:
            got += os.read(fd, 1)
        yield NAMES.get(got, got.decode("ascii", "ignore"))
