"""One process of a run: does items as they come, one line of JSON each way.

On stdin an item; on stdout, first ``{"at": where}`` whenever it has got somewhere, then
``{"done": record}``. A record with ``poisoned`` is this process's last: an error that stays has
reached the device. Whatever else goes to stdout would be in the way, so it goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

Progress = Callable[[str], None]


def main(kind: str, source: TextIO, sink: TextIO) -> None:
    """Work until there are no more items, or the device is lost.

    Args:
        kind: of the device: cuda or cpu.
    """
    hands = Hands(kind)
    for line in source:
        item = json.loads(line)

        def progress(where: str) -> None:
            print(json.dumps({"at": where}), file=sink, flush=True)

        record = hands.take(item, progress)
        print(json.dumps({"done": record}, default=str), file=sink, flush=True)
        if record.get("poisoned"):
            os._exit(3)  # an orderly end would ask the device again, and may hang


class Hands:
    """Does one item after another on a device, which is opened when an item needs it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._device: Any = None

    @property
    def device(self) -> Any:
        """The device, opened once."""
        if self._device is None:
            from . import device

            self._device = device.of(self.kind)
        return self._device

    def take(self, item: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """The record of an item: what came of it, or the error that it ended in."""
        try:
            found = self._do(item, progress)
        except Exception as error:  # whatever it is, it is this item's
            text = " ".join(str(error).split())[:400]
            found = {"status": "error", "reason": f"{type(error).__name__}: {text}"}
            found["poisoned"] = self._device is not None and not self._device.healthy()
        return {**item, **found}

    def _do(self, item: dict[str, Any], progress: Progress) -> dict[str, Any]:
        match item["kind"]:
            case "machine":
                from . import machine

                return machine.describe(item["backends"])
            case "compile":
                from . import compiling

                return compiling.build(item)
            case "verify":
                from . import verify

                return verify.verify(item, self.device, progress)
            case "ceilings":
                from . import ceilings

                return ceilings.measure(self.device, progress)
            case "time":
                from . import racing

                return racing.race(item, self.device, progress)
            case "names":
                from . import names

                return names.names(item, self.device)
        raise KeyError(item["kind"])


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(sys.argv[1], sys.stdin, out)
