"""The options of a MIOpenDriver command, read by what ``notation_miopen`` and
``notation_miopen_pool`` say of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import UsageError
from .notation import integer, near


@dataclass(frozen=True)
class Options:
    """What a driver takes.

    Args:
        known: name → its short one, and the driver's default; text where that is text, else an int.
        skipped: name → its short one, of what does not belong to a problem.
        old: a name of former versions → today's.
        example: a command, for messages.
    """

    known: dict[str, tuple[str, Any]]
    skipped: dict[str, str]
    old: dict[str, str]
    example: str

    def read(self, text: str, words: list[str]) -> dict[str, Any]:
        """Every option's value, the driver's default where the line has none.

        Args:
            text: the whole line, for messages.
            words: names and values in turns.

        Raises:
            UsageError: a name that is not known, or a value that is missing, no int or negative.
        """
        values = {name: default for name, (_, default) in self.known.items()}
        long = {short: name for name, (short, _) in self.known.items() if short}
        long |= {short: name for name, short in self.skipped.items()}
        for at in range(0, len(words), 2):
            given = words[at]
            name = given[2:] if given.startswith("--") else long.get(given.removeprefix("-"), "")
            name = self.old.get(name, name)
            if not given.startswith("-") or name not in {*self.known, *self.skipped}:
                hint = near(given, [f"--{option}" for option in self.known])
                raise UsageError(
                    f"MIOpenDriver: {given!r} in {text!r} is not an option{hint}; e.g. "
                    f"{self.example}"
                )
            if at + 1 == len(words):
                raise UsageError(
                    f"MIOpenDriver: {given} has no value in {text!r}; e.g. {self.example}"
                )
            if name in self.skipped:
                continue
            value, is_text = words[at + 1], isinstance(values[name], str)
            values[name] = value if is_text else integer(value, f"MIOpenDriver: {given}")
            if not is_text and values[name] < 0:
                raise UsageError(
                    f"MIOpenDriver: --{name} must be at least 0, got {values[name]} in {text!r}"
                )
        return values
