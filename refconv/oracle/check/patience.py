"""How long an explanation has been looked for, on a clock that other processes hardly move."""

from __future__ import annotations

import time

#: A function that waits (for a GPU, a file) uses no processor: its time counts for one part in so
#: many.
WAITING = 4


class Patience:
    """A share of ``seconds`` that is used up.

    Processor time of the calling thread, so that a busy machine finds what a quiet one finds; or a
    quarter of the time on the wall, if that is more.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._thread, self._wall = time.thread_time(), time.monotonic()

    def spent(self, share: float = 1.0) -> bool:
        """Whether this share of the time is over."""
        wall = (time.monotonic() - self._wall) / WAITING
        return max(time.thread_time() - self._thread, wall) > share * self.seconds
