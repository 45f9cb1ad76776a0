"""The tables of a benchmark: a row a layer, or a row an algorithm beside what it should cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from ..harness.records import Bench, Ceilings
from ..harness.regret import RIGHT, regrets
from ..harness.report.words import three
from .cells import STYLE, geomean
from .tables import grid

Key = tuple[str, str, str]


def groups(rows: Sequence[Bench]) -> dict[Key, list[Bench]]:
    """The rows that were timed together: one way of one case."""
    found: dict[Key, list[Bench]] = {}
    for row in rows:
        found.setdefault((row.case, row.label, row.way), []).append(row)
    return found


def layers(rows: Sequence[Bench], peak: Ceilings | None) -> Table:
    """Torch, ours, ratio, algorithm, rate and share of the ceiling, errors of both."""
    several = _several(rows)
    heads = ["layer", "torch", "ours", "ratio", *several, "algorithm", "rate", "%", "noise"]
    table = grid(*heads, right=[heads.index(n) for n in ("torch", "ours", "rate", "%")])
    for cells, row, peer in _beside(rows, several):
        table.add_row(*cells, row.algorithm, *_rate(row, peak), _noises(row, peer))
    return table


def networks(rows: Sequence[Bench]) -> Table:
    """Whole networks: torch, ours, ratio, and how far both are from float64."""
    several = _several(rows)
    heads = ["network", "torch", "ours", "ratio", *several, "distance"]
    table = grid(*heads, right=[heads.index(n) for n in ("torch", "ours")])
    for cells, row, peer in _beside(rows, several):
        table.add_row(*cells, f"{_distance(row)}/{_distance(peer)}")
    return table


def _several(rows: Sequence[Bench]) -> list[str]:
    """Columns that are needed only where rows differ in them."""
    many = {
        "way": len({r.way for r in rows}) > 1,
        "backend": len({r.backend for r in rows}) > 2,
        "accuracy": len({r.accuracy for r in rows if r.accuracy}) > 1,
    }
    return [name for name, needed in many.items() if needed]


def _beside(
    rows: Sequence[Bench], several: list[str]
) -> Iterator[tuple[list[str | Text], Bench, Bench | None]]:
    """Each of our rows with the cells that every table begins with, and torch's row."""
    for (case, _, _), together in groups(rows).items():
        peer = next((r for r in together if r.backend == "torch"), None)
        first = True
        for row in _merged([r for r in together if r.backend != "torch"]):
            cells: list[str | Text] = [case, _ms(peer)] if first else ["", ""]
            yield [*cells, _ms(row), _ratio(row), *(getattr(row, n) for n in several)], row, peer
            first = False


def _distance(row: Bench | None) -> str:
    """The largest distance from float64, of a training step that of its gradients."""
    if row is None or not row.checks:
        return "–"
    last = row.checks[-1].max_error
    return "nan" if last is None else f"{last:.1e}"


def _merged(rows: Sequence[Bench]) -> list[Bench]:
    """Rows that are one measurement at two accuracies as one."""
    from msgspec.structs import replace

    made: list[Bench] = []
    for row in rows:
        same = [i for i, r in enumerate(made) if r.timing and r.timing == row.timing]
        if same:
            made[same[0]] = replace(made[same[0]], accuracy="both")
        else:
            made.append(row)
    return made


def _ms(row: Bench | None) -> str:
    """Three digits of milliseconds; a star where they are not to be trusted."""
    if row is None or row.timing is None:
        return "–"
    x = row.timing.median_ns / 1e6
    text = f"{x:.4f}" if x < 0.0995 else f"{x:.3f}" if x < 0.995 else three(x)
    return text + "*" * row.timing.busy


def _ratio(row: Bench) -> Text:
    """``0.89 0.88–0.90``, or what stands in its way."""
    if row.timing is None or row.timing.vs_torch is None:
        word = row.status if row.status in ("ok", "skipped") else row.status.upper()
        return Text(word if row.status != "ok" else "–", STYLE.get(row.status, ""))
    text = digits(row.timing.vs_torch)
    if row.interval:
        text += f" {digits(row.interval[0])}–{digits(row.interval[1])}"
    if row.status in ("noise", "suspect"):
        return Text(f"{text} {row.status}", "yellow")
    style = "green" if row.interval and row.interval[1] < 1 else ""
    return Text(text, "red" if row.interval and row.interval[0] > 1 else style)


def digits(ratio: float) -> str:
    """Three digits; of small ratios three behind the point."""
    return f"{ratio:.3f}" if ratio < 0.0995 else three(ratio)


def _rate(row: Bench, peak: Ceilings | None) -> list[str]:
    """Rate and share of the ceiling that bounds this layer: arithmetic, or memory."""
    if row.timing is None:
        return ["", ""]
    seconds = row.timing.median_ns / 1e9
    fma = peak.fma / (2 if row.dtype == "float64" else 1) if peak else None
    memory = peak is not None and fma is not None and row.moved / peak.copy > row.flops / fma
    if memory or "conv" not in row.op:
        rate, unit, most = row.moved / seconds, "GB", peak.copy if peak else None
    else:
        rate, unit, most = row.flops / seconds, "GF", fma
    return [f"{three(rate / 1e9)} {unit}", "" if most is None else f"{100 * rate / most:.0f}"]


def _noises(row: Bench, peer: Bench | None) -> str:
    """The largest error of each in units of the expected rounding; ``=`` for no error, – where
    there is no telling.
    """
    return f"{_noise(row)}/{_noise(peer)}"


def _noise(row: Bench | None) -> str:
    if row is None or not row.checks:
        return "–"
    known = [c.noise for c in row.checks if c.noise is not None]
    if known:
        return f"{max(known):.1f}"
    return "=" if all(c.max_error == 0 for c in row.checks) else "–"


def algorithms(rows: Sequence[Bench]) -> Table:
    """A row an algorithm: time, ratio, what the cost model predicts, which is chosen and best."""
    heads = ["layer", "algorithm", "accuracy", "ms", "ratio", "predicted", "pred/meas", "chosen"]
    table = grid(*heads, right=[heads.index(n) for n in ("ms", "predicted", "pred/meas")])
    for (case, _, way), together in groups(rows).items():
        timed = {r: r.timing.median_ns for r in together if r.timing and r.backend != "torch"}
        quickest = min(timed, key=lambda r: timed[r], default=None)
        name = case if way == "fprop" else f"{case} {way}"
        for i, row in enumerate(together):
            words = [*row.chosen, *(["fastest"] if row is quickest else [])]
            ours = row.backend != "torch"
            table.add_row(
                name if i == 0 else "",
                row.algorithm if ours else "torch",
                row.accuracy,
                _ms(row),
                _ratio(row) if ours else "",
                "" if row.predicted is None else f"{row.predicted / 1e6:.3f}",
                _predicted(row),
                Text(" ".join(words), "green" if "fastest" in words else ""),
            )
    return table


def _predicted(row: Bench) -> str:
    if row.predicted is None or row.timing is None:
        return ""
    return three(row.predicted / row.timing.median_ns)


def regret_lines(rows: Sequence[Bench], most: int = 5) -> list[str]:
    """For each accuracy: how often the choice was the fastest, what it costs where not, and the
    ``most`` layers where it costs most.
    """
    named = [
        (case if way == "fprop" else f"{case} {way}", together)
        for (case, _, way), together in groups(rows).items()
    ]
    lines = []
    for accuracy in ("strict", "fast"):
        found, hidden = regrets(named, accuracy)
        if not found:
            continue
        missed = [r for r in found if r.times >= RIGHT]
        mean = geomean([r.times for r in found])
        text = (
            f"{accuracy}: the choice is the fastest, within 2 %, in {len(found) - len(missed)} of "
            f"{len(found)} layers; regret geomean {mean:.3f}, most {found[0].times:.2f}"
        )
        lines.append(text + (f"; {len(hidden)} not counted: noise" if hidden else ""))
        lines += [
            f"  {r.times:.2f} {r.layer}: {r.chosen} was chosen, {r.fastest} is faster"
            for r in missed[:most]
        ]
    return lines
