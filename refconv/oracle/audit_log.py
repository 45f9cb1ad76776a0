"""What an audit found: a row a call, a table with a line a layer, worst first."""

from __future__ import annotations

import html
import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

SCHEMA = "refconv.audit/1"
#: From the worst; what was not judged has not passed.
LEVELS = ("wrong", "suspect", "unjudged", "consistent")
STYLE = {"wrong": "bold red", "suspect": "yellow", "unjudged": "yellow", "consistent": "green"}
SHORT = {
    "output": "y", "indices": "index", "grad_input": "dx", "grad_weight": "dw", "grad_bias": "db",
}  # fmt: skip
HEADS = ("layer", "problem", "in", "error/\nbound", "error/\nnoise", "ran as", "verdict")
#: Names that a headline lists.
NAMED = 3


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of one call, and what the oracle said of it.

    Args:
        result: output, indices, grad_input, grad_weight or grad_bias.
        level: wrong, suspect, unjudged or consistent; ``reason`` in words.
        ratio: error / bound in the worst cell; None if infinite (wrong) or unknown.
        noise: error / noise; None where nothing rounds.
        fingerprint: the arithmetic that the errors look like.
        cells: that were compared, ``of`` as many as the result has.
        excused: the narrower arithmetic that it was judged by, and why.
    """

    result: str
    level: str
    kind: str = "ok"
    reason: str = ""
    rule: str = ""
    ratio: float | None = None
    noise: float | None = None
    fingerprint: str = ""
    max_error: float | None = None
    worst: tuple[int, ...] | None = None
    wrong: int = 0
    cells: int = 0
    of: int = 0
    excused: str = ""

    @property
    def sampled(self) -> str:
        """``sampled 4,096 of 802,816 cells``, or nothing."""
        if self.cells == self.of:
            return ""
        return f"sampled {self.cells:,} of {self.of:,} cells"

    @property
    def rank(self) -> tuple[int, float, float]:
        """Larger is worse."""
        ratio = self.ratio if self.ratio is not None else float("inf") if self.wrong else 0.0
        return -LEVELS.index(self.level), ratio, self.noise or 0.0


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call.

    Args:
        name: the layer's path in the model, or the op and a number.
        op: of a derivative: that of the layer.
        direction: forward or backward.
        label: the problem, as ``refconv compare`` takes it; the operator where it has none.
        note: why it was not judged, or by which arithmetic.
        seconds: that the judging took.
    """

    name: str
    op: str
    direction: str
    label: str
    dtype: str = ""
    device: str = ""
    results: tuple[Finding, ...] = ()
    note: str = ""
    seconds: float = 0.0

    @property
    def worst(self) -> Finding:
        """The result that is worst off; of a call that was not judged, that it was not."""
        if not self.results:
            return Finding(result="output", level="unjudged", kind="unjudged", reason=self.note)
        return max(self.results, key=lambda f: f.rank)

    @property
    def level(self) -> str:
        """The worst of its results' levels."""
        return self.worst.level

    @property
    def sampled(self) -> str:
        """Which results were judged on a sample of their cells, or nothing."""
        return "; ".join(f"{f.result}: {f.sampled}" for f in self.results if f.sampled)


@dataclass
class Log:
    """The calls in the order in which they were made.

    Args:
        notes: what a reader must know of the run as a whole; ``about``: what was run.
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: str = ""

    @property
    def worst(self) -> list[Row]:
        """All rows, worst first."""
        return sorted(self.rows, key=lambda row: row.worst.rank, reverse=True)

    @property
    def flagged(self) -> list[Row]:
        """Rows that are wrong or suspect, worst first."""
        return [row for row in self.worst if row.level in ("wrong", "suspect")]

    @property
    def layers(self) -> list[list[Row]]:
        """The rows of each layer, that of the worst layer first."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.worst:
            found.setdefault((row.name, row.op), []).append(row)
        return list(found.values())

    @property
    def headline(self) -> str:
        """The verdict in one line, with a word as well as a symbol."""
        layers = self.layers
        if not layers:
            return "✘ no convolution or pooling was seen"
        count = Counter(rows[0].level for rows in layers)
        total = f"{len(layers)} layer{'s' * (len(layers) > 1)}"
        idle = f"; {count['unjudged']} of {total} not judged" if count["unjudged"] else ""
        if count["unjudged"] == len(layers):
            return f"✘ nothing was judged: {layers[0][0].note}"
        if not (count["wrong"] or count["suspect"]):
            judged = len(layers) - count["unjudged"]
            every = "all " * (judged == len(layers) > 1)
            return f"✔ {every}{judged} layer{'s' * (judged > 1)} consistent{self._passes}{idle}"
        parts = [f"{count[w]} {w}" for w in ("wrong", "suspect") if count[w]]
        names = [rows[0].name for rows in layers[: count["wrong"] + count["suspect"]]]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        sign = "✘" if count["wrong"] else "?"
        return f"{sign} {', '.join(parts)} of {total}: {', '.join(names[:NAMED])}{more}{idle}"

    @property
    def _passes(self) -> str:
        count = Counter(row.direction for row in self.rows)
        return f" ({', '.join(f'{n} {what}' for what, n in count.items())} calls)"

    @property
    def hints(self) -> list[str]:
        """What is wrong in words, what was excused or left out, how to see it again."""
        lines = []
        for rows in self.layers:
            bad = next((row for row in rows if row.level in ("wrong", "suspect")), None)
            if bad is not None:
                f = bad.worst
                lines.append(f"{bad.name} {f.result}: {f.level}: {f.reason}")
        lines = lines[:12] + ([f"… and {len(lines) - 12} more"] if len(lines) > 12 else [])
        notes = Counter(row.note for row in self.rows if row.note)
        lines += [f"{note}{f' ({n} calls)' if n > 1 else ''}" for note, n in notes.items()]
        sampled = sum(bool(row.sampled) for row in self.rows)
        if sampled:
            lines.append(
                f"sampled: {sampled} of {len(self.rows)} calls were judged on some of their cells "
                "only; a larger budget judges more"
            )
        lines += self.notes
        if self.flagged:
            row = self.flagged[0]
            back = " --backward" if row.direction == "backward" else ""
            lines.append(f"repro: refconv compare {shlex.quote(row.label)}{back}")
        return lines

    def table(self) -> list[tuple[str, ...]]:
        """The cells of the table under ``HEADS``, a line a layer."""
        made: list[tuple[str, ...]] = []
        for rows in self.layers:
            f = rows[0].worst
            problem = f"{rows[0].label}\n{f.sampled}".rstrip()
            word = "ok" if f.level == "consistent" else f.level.upper()
            judged = SHORT[f.result] if rows[0].results else ""
            ran_as = f.fingerprint.replace("float", "fp")
            numbers = (_ratio(f), "" if f.noise is None else _number(f.noise), ran_as)
            made.append((rows[0].name, problem, judged, *numbers, word))
        return made

    def to_json(self) -> str:
        """One JSON document: verdict, rows worst first, notes."""
        whole = {
            "schema": SCHEMA,
            "verdict": self.headline,
            "about": self.about,
            "rows": [{**msgspec.to_builtins(row), "level": row.level} for row in self.worst],
            "notes": self.notes,
        }
        return msgspec.json.format(msgspec.json.encode(whole), indent=1).decode()

    def __repr__(self) -> str:
        return f"<audit: {self.headline}>"

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        for head in HEADS:
            words = head in ("layer", "problem")
            right = head.startswith("error")
            grid.add_column(
                head, justify="right" if right else "left", no_wrap=not words, overflow="fold"
            )
        for cells, rows in zip(self.table(), self.layers, strict=True):
            grid.add_row(*map(Text, cells[:-1]), Text(cells[-1], STYLE[rows[0].level]))
        style = STYLE[min((row.level for row in self.rows), key=LEVELS.index, default="wrong")]
        indent = lambda what: Padding(what, (0, 0, 0, 2), expand=False)  # noqa: E731
        about = [indent(Text(self.about))] if self.about else []
        lines = [indent(Text(line)) for line in self.hints]
        return Group(Text(self.headline, style), *about, indent(grid), *lines)

    def _repr_html_(self) -> str:
        cell = lambda tag, text: f"<{tag}>{html.escape(text).replace(chr(10), '<br>')}</{tag}>"  # noqa: E731
        head = "".join(cell("th", text) for text in HEADS)
        body = "".join(f"<tr>{''.join(cell('td', t) for t in line)}</tr>" for line in self.table())
        hints = "".join(cell("p", line) for line in self.hints)
        return (
            f'<div style="overflow-x:auto">{cell("p", self.headline)}'
            f"<table><tr>{head}</tr>{body}</table>{hints}</div>"
        )


def _ratio(f: Finding) -> str:
    if f.kind not in ("ok", "value"):
        return f.kind
    if f.ratio is None:
        return "inf" if f.wrong else ""
    return "equal" if f.ratio == 0 else _number(f.ratio)


def _number(x: float) -> str:
    return f"{x:.3f}" if x < 10 else f"{x:.0f}" if x < 10000 else f"{x:.0e}"
