"""What a run looks like: on a terminal, piped, as Markdown and as JSON. One screen: the verdict
first, what to do last.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.table import Table

from ..harness.records import DISTANCE, SCHEMA, Environment, Result

FAILED = ("wrong", "suspect", "error", "doubt")
#: What the oracle line adds for a model.
MODELS = (
    "layers on the inputs that torch's got; propagated: in the run of the whole model, the largest "
    "distance from torch in float64, reported without a bound"
)


@dataclass(frozen=True)
class Report:
    """The results of a run, and how to say them.

    Args:
        again: options that the repro line repeats.
        named: backends that the user named.
        imported: what others' files came to, a line each.
    """

    run: Environment
    rows: Sequence[Result]
    again: str
    named: tuple[str, ...] = ()
    imported: Sequence[str] = ()

    @cached_property
    def cases(self) -> dict[tuple[str, str], list[Result]]:
        """The rows of each case."""
        found: dict[tuple[str, str], list[Result]] = {}
        for row in self.rows:
            found.setdefault((row.case, row.label), []).append(row)
        return found

    @cached_property
    def failed(self) -> list[Result]:
        """Rows that are neither ok nor skipped."""
        return [row for row in self.rows if row.status in FAILED]

    @cached_property
    def passed(self) -> list[Result]:
        """Rows that are ok."""
        return [row for row in self.rows if row.status == "ok"]

    @property
    def exit_code(self) -> int:
        """1 if anything failed; 3 if nothing ran, or nothing of what was named; else 0."""
        if self.failed:
            return 1
        return 3 if self.idle else 0

    @cached_property
    def idle(self) -> list[str]:
        """Named backends that were skipped everywhere; or, if nothing at all was judged,
        ``nothing``.
        """
        judged = {row.backend for row in (*self.passed, *self.failed)}
        seen = {row.backend for row in self.rows}
        missing = [name for name in self.named if name in seen and name not in judged]
        return missing or ([] if judged else ["nothing"])

    @cached_property
    def headline(self) -> str:
        """The verdict in one line, with a word as well as a symbol; skipped is never counted as
        passed.
        """
        judged = len(self.passed) + len(self.failed)
        many = len({(row.case, row.label) for row in (*self.passed, *self.failed)}) > 1
        if not judged:
            return f"✘ nothing was compared{self._skips}"
        if self.failed:
            if {r.status for r in self.failed} == {"doubt"}:
                word = "reference in doubt: our float64 and torch's disagree"
            else:
                names = ", ".join(dict.fromkeys(r.backend for r in self.failed))
                word = f"{len(self.failed)} differ{'s' * (len(self.failed) == 1)}: {names}"
            bad = len({r.label for r in self.failed})
            where = f", in {bad} of {len(self.cases)} cases" if many else ""
            return f"✘ {len(self.passed)} of {judged} agree; {word}{where}{self._skips}"
        if not many:
            return f"✔ all {judged} agree{self._skips}"
        count = Counter(r.backend for r in self.passed)
        each = ", ".join(f"{name} {n}" for name, n in count.items())
        cases = len({(row.case, row.label) for row in self.passed})
        return f"✔ all {cases} cases agree: {each}{self._skips}"

    @cached_property
    def undefined(self) -> dict[tuple[str, str], str]:
        """The cases whose op is not defined for the dtype that was asked for, and that dtype."""
        return {
            key: rows[0].dtype
            for key, rows in self.cases.items()
            if all(r.reason.startswith(f"--dtype {r.dtype}: ") for r in rows)
        }

    @property
    def _skips(self) -> str:
        """Unavailable backends, and rows that were skipped for another reason."""
        skipped = [row for row in self.rows if row.status == "skipped"]
        ran = {row.backend for row in self.rows if row.status != "skipped"}
        absent = dict.fromkeys(row.backend for row in skipped if row.backend not in ran)
        idle = self.undefined
        some = sum(row.backend in ran and (row.case, row.label) not in idle for row in skipped)
        parts = [f"{some} skipped"] if some else []
        parts += (
            [f"{len(idle)} case{'s' * (len(idle) > 1)} not defined for {min(idle.values())}"]
            if idle
            else []
        )
        parts += [f"not run: {', '.join(absent)}"] if absent else []
        return "".join(f"; {part}" for part in parts)

    @property
    def oracle(self) -> str:
        """What they were judged by."""
        checks = [c for row in self.rows for c in row.checks]
        terms = max((c.terms for c in checks), default=0)
        rules = sorted({c.rule for c in checks if c.rule not in ("", "F11", DISTANCE)})
        model = any(c.rule == DISTANCE for c in checks)
        return (
            "oracle im2col float64, checked against torch's · integers equal, reals within "
            f"{' / '.join(rules) or '-'}{f', up to {terms:,} terms' if terms else ''}"
            f"{f' · {MODELS}' if model else ''}"
        )

    @property
    def machine(self) -> str:
        """One line on what it ran on."""
        v, threads = self.run.versions, set(self.run.threads.values())
        shared = threads.pop() if len(threads) == 1 else self.run.threads
        names = " ".join(f"{name} {v[name]}" for name in ("torch", "numba", "numpy") if name in v)
        gpu = f" · {self.run.gpu}" if self.run.gpu else ""
        where = f"{self.run.cpu}{gpu} · {shared} threads each"
        return f"{where} · {names} · allocator {self.run.allocator}"

    def json(self) -> str:
        """One JSON document: run, results (raw samples in ns), summary."""
        import msgspec

        whole = {
            "schema": SCHEMA,
            "verdict": self.headline,
            "exit_code": self.exit_code,
            "run": self.run,
            **({"imported": list(self.imported)} if self.imported else {}),
            "results": list(self.rows),
        }
        return msgspec.json.format(msgspec.json.encode(whole), indent=1).decode()

    def markdown(self) -> str:
        """The same tables as Markdown."""
        from .tables import case_table, set_table, totals

        parts = [f"**{self.headline}**", *self.imported, self.machine, self.oracle]
        tables = (
            [set_table(self), totals(self)]
            if len(self.cases) > 1
            else [case_table(rows, wide=True) for rows in self.cases.values()]
        )
        parts += [as_markdown(t) for t in tables]
        parts += [f"- {line}" for line in self.failures]
        return "\n\n".join(parts)

    @cached_property
    def failures(self) -> list[str]:
        """One line for each failure, with how to see it again."""
        lines = []
        for row in self.failed:
            name = f"{row.case}: " if len(self.cases) > 1 else ""
            lines.append(f"{name}{row.backend} on {row.device}: {row.status}: {row.reason}")
        return lines

    @property
    def repro(self) -> str:
        """A command that shows the first failure, or the case, again."""
        row = (self.failed or list(self.rows))[0]
        only = f" --backends {row.backend}" if self.failed and row.backend != "torch" else ""
        model = self.models.get(row.source)
        return f"refconv compare {model or shlex.quote(row.label)} {self.again}{only}"

    @cached_property
    def models(self) -> dict[str, str]:
        """The source of each model's rows, and the words that run it again."""
        return {row.source: row.label for row in self.rows if row.op == "model"}

    @property
    def single(self) -> bool:
        """Whether all rows are of one case or one model, so that one command runs all again."""
        sources = {row.source for row in self.rows}
        return len(self.cases) == 1 or (len(sources) == 1 and sources <= set(self.models))

    def show(self) -> None:
        """Print to stdout."""
        from .screen import show

        show(self)


def as_markdown(table: Table) -> str:
    """A rich table's cells as a Markdown table."""
    heads = [str(column.header).replace("\n", " ").replace("|", "\\|") for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    plain = [
        [str(getattr(cell, "plain", cell)).replace("|", "\\|") for cell in row] for row in rows
    ]
    right = [column.justify == "right" for column in table.columns]
    lines = [heads, ["--:" if r else ":--" for r in right], *plain]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
