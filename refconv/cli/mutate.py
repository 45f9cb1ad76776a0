"""``refconv mutate``: how good is a tolerance? Faults that pass, legal results that do not."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json

if TYPE_CHECKING:
    from rich.text import Text

    from ..oracle.mutate import Cell, Score

EPILOG = "Example: refconv mutate 'conv2d x[1,64,9,9] w[64,64,3,3]' --policy 1e-3,1e-5"
SCHEMA = "refconv.mutate/1"
#: A usual layer, one of long sums, a first one, a depthwise, a pointwise, a grouped and dilated, a
#: transposed one.
SHAPES = (
    "conv2d x[1,64,9,9] w[64,64,3,3]",
    "conv2d x[1,256,5,5] w[16,256,3,3]",
    "conv2d x[1,3,19,19] w[32,3,7,7] b s2 p3",
    "conv2d x[2,32,8,8] w[32,1,3,3] p1 g32",
    "conv2d x[1,256,5,5] w[32,256,1,1]",
    "conv1d x[2,24,40] w[24,8,5] p4 d2 g3",
    "conv_transpose2d x[1,16,5,5] w[16,16,4,4] s2 p1",
)

#: Columns of the table: the first two, and each policy's.
FIXED, PER_POLICY = 28, 8


def command(
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CASE",
            help="Convolutions: a set, a case of it, a torch call, our label. "
            "Default: seven shapes.",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY",
            help="A name in the table; rtol,atol; or file.py:function.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Draws of the data.", min=1)] = 1,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="E.g. float16; else float32.")
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit 1 unless every cell is right.")
    ] = False,
    json: Json = None,
) -> int:
    """Try tolerances on faulty and on legal convolutions: what passes, what is rejected?

    A policy of your own is a function(got, want) -> bool of two tensors: the result under test, and
    torch's. An AssertionError means no.
    """
    from ..harness import cases as case_sets
    from ..oracle import mutate, policies
    from . import terminal
    from .emit import emit

    chosen = [policies.find(p) for p in dict.fromkeys(policy or policies.NAMED)]
    loaded = [c for spec in cases or SHAPES for c in case_sets.load(spec, dtype=dtype)]
    problems = list(dict.fromkeys(c.problem for c in loaded if not c.refused))
    for problem in problems:
        mutate.check(problem)
    with terminal.progress(len(problems)) as step:
        scores = mutate.scores(chosen, problems, seeds, step)
    wrong = any(s.missed or s.false_alarms for s in scores)
    again = [*(cases or []), *(w for p in policy or [] for w in ("--policy", p))]
    again += ["--dtype", dtype] if dtype else []
    again += ["--seeds", str(seeds)]
    repro = shlex.join(["refconv", "mutate", *again])
    code = int(fail and wrong)
    if json is not None:
        emit(json, document(scores, seeds, code, repro))
    if json != "-":
        show(scores, repro)
    return code


def document(scores: Sequence[Score], seeds: int, code: int, repro: str) -> dict[str, Any]:
    """The JSON document: totals, and of every result how many elements each policy rejects."""
    from ..oracle import mutate
    from ..oracle.regimes import REGIMES

    cells = zip(*(s.cells for s in scores), strict=True)
    return {
        "schema": SCHEMA,
        "conclusion": "; ".join(mutate.conclusion(scores)),
        "exit_code": code,
        "repro": repro,
        "seeds": seeds,
        "data": REGIMES,
        "policies": [
            {
                "name": s.policy.name,
                "source": s.policy.source,
                "faults": len(s.of(legal=False)),
                "missed": s.missed,
                "legal": len(s.of(legal=True)),
                "false_alarms": s.false_alarms,
            }
            for s in scores
        ],
        "results": [
            {
                "candidate": row[0].candidate,
                "legal": row[0].legal,
                "case": row[0].case,
                "data": row[0].data,
                "seed": row[0].seed,
                "rejected": {s.policy.name: c.rejected for s, c in zip(scores, row, strict=True)},
            }
            for row in cells
        ],
    }


def show(scores: Sequence[Score], repro: str) -> None:
    """Print the page: what the numbers say, the table, what its words mean."""
    from ..oracle import mutate
    from ..oracle.regimes import REGIMES
    from .terminal import console, flush, line, table

    out = console()
    first, *rest = mutate.conclusion(scores)
    line(out, first, "bold")
    for text in rest:
        line(out, f"  {text}")
    cases = list(dict.fromkeys(c.case for c in scores[0].cells))
    shapes = cases[0] if len(cases) == 1 else f"{len(cases)} shapes"
    line(
        out,
        f"  {shapes} × {len(REGIMES)} kinds of data; small letters: right; CAPITALS: WRONG, "
        "how often of the row's total",
    )
    fitting = max(1, (out.width - FIXED) // PER_POLICY) if out.is_terminal else len(scores)
    for i in range(0, len(scores), fitting):
        table(out, score_table(scores[i : i + fitting]))
    width = max(len(name) for name in (*REGIMES, *(s.policy.name for s in scores))) + 2
    for one in scores:
        line(out, f"  {one.policy.name:<{width}}{one.policy.source}")
    if len(scores) <= 2:
        for text in (t for one in scores for t in details(one)):
            line(out, f"  {text}")
    for data, about in REGIMES.items():
        line(out, f"  {data:<{width}}{about}")
    line(out, f"  repro: {repro}")
    flush()


def score_table(scores: Sequence[Score]) -> Any:
    """A row a candidate, legal ones first, a column a policy; then by kind of data, and totals."""
    from rich.text import Text

    from ..oracle.mutants import CANDIDATES
    from ..oracle.regimes import REGIMES
    from .tables import grid

    made = grid("", "of", *(s.policy.name for s in scores), right=range(1, len(scores) + 2))
    for legal, title in ((True, "LEGAL, must pass"), (False, "FAULTS, to reject")):
        made.add_row(Text(title, "bold"))
        for name in (c.name for c in CANDIDATES if c.legal == legal):
            rows = [[c for c in s.cells if c.candidate == name] for s in scores]
            if rows[0]:
                made.add_row(name, str(len(rows[0])), *map(mark, rows))
    made.add_row(Text("MISSED + FALSE", "bold"))
    for data in REGIMES:
        rows = [[c for c in s.cells if c.data == data] for s in scores]
        made.add_row(data, *_sums(rows))
    made.add_row("all", *_sums([s.cells for s in scores]))
    return made


def mark(cells: Sequence[Cell]) -> Text:
    """``pass`` or ``reject`` where that is right every time; else in capitals, with a count."""
    from rich.text import Text

    from .cells import STYLE

    legal, wrong = cells[0].legal, sum(not c.right for c in cells)
    if wrong:
        return Text(f"{'REJ' if legal else 'PASS'} {wrong}", STYLE["wrong"])
    return Text("pass" if legal else "reject", STYLE["ok"])


def _sums(rows: Sequence[Sequence[Cell]]) -> Iterable[Text | str]:
    from rich.text import Text

    from .cells import STYLE

    faults = sum(not c.legal for c in rows[0])
    yield f"{faults}+{len(rows[0]) - faults}"
    for cells in rows:
        missed, alarms = (
            sum(not c.right and c.legal == legal for c in cells) for legal in (False, True)
        )
        yield Text(f"{missed}+{alarms}", STYLE["wrong" if missed or alarms else "ok"])


def details(one: Score) -> Iterable[str]:
    """Where a policy is wrong: each fault that it misses, and what it rejects, by kind of data."""
    from ..oracle.mutants import CANDIDATES

    for candidate in (*CANDIDATES, None):
        name = "legal results" if candidate is None else candidate.name
        mine = [
            c for c in one.cells if not c.right and (c.candidate == name if candidate else c.legal)
        ]
        if not mine or (candidate and candidate.legal):
            continue
        where = ", ".join(f"{data} {n}" for data, n in Counter(c.data for c in mine).items())
        word = "misses" if candidate else "rejects"
        yield f"{one.policy.name} {word} {name}: {where}; first in {mine[0].case}"
