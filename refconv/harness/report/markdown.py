"""The report as a comment on a pull request: the verdict, what fails, and the rows to look at."""

from __future__ import annotations

from .findings import Report, machine
from .rows import Row
from .words import against, digits, duration

#: Rows of the table, faults told, reasons of skips.
ROWS, FAULTS, SKIPS = 20, 10, 8


def markdown(report: Report) -> str:
    """The whole comment."""
    parts = [f"### {report.headline}", _firsts(report)]
    for f in report.failures[:FAULTS]:
        fence = "```"
        lines = [f"<details><summary><b>{_text(f.status)}</b>: {_text(f.title)}</summary>", ""]
        lines += [_text(f.reason)] if f.reason else []
        lines += ["", fence, f.diagnosis.replace(fence, "'''"), fence] if f.diagnosis else []
        language = "python" if f.script else "sh"
        lines += ["", f"{fence}{language}", f.repro.replace(fence, "'''"), fence] if f.repro else []
        parts.append("\n".join([*lines, "", "</details>"]))
    if len(report.failures) > FAULTS:
        parts.append(f"… and {len(report.failures) - FAULTS} more.")
    if report.table:
        parts.append(_table(report.table))
    parts += _rest(report)
    return "\n\n".join(part for part in parts if part) + "\n"


def _firsts(report: Report) -> str:
    """Slowest and least accurate."""
    lines = []
    if slow := report.slowest:
        lines.append(
            f"- slowest beside torch: **{_text(slow.name)}**, {against(slow)}, "
            f"{duration(slow.ns)} ({_text(slow.who)}, the fastest of ours there)"
        )
    if rough := report.roughest:
        lines.append(
            f"- least accurate: **{_text(rough.name)}**, rms error {digits(rough.noise)} times "
            f"the usual rounding ({_text(rough.who)})"
        )
    return "\n".join(lines)


def _table(rows: list[Row]) -> str:
    heads = ("layer", "candidate", "status", "time", "ratio", "interval", "noise", "bound")
    lines = [f"| {' | '.join(heads)} |", "|:--|:--|:--|" + "--:|" * (len(heads) - 3)]
    for r in rows[:ROWS]:
        cells = [_text(r.name), _text(r.who), r.status, duration(r.ns) + "*" * r.busy,
                 digits(r.ratio), f"{digits(r.low)}–{digits(r.high)}" if r.low else "–",
                 digits(r.noise), digits(r.bound)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    if len(rows) <= ROWS:
        return "\n".join(lines)
    title = f"{ROWS} of {len(rows):,} rows: what fails, then the slowest beside torch"
    return f"<details><summary>{title}</summary>\n\n" + "\n".join(lines) + "\n\n</details>"


def _rest(report: Report) -> list[str]:
    """What was skipped, what could not be read, and where it ran."""
    skips = [f"- skipped {n:,} times: {_text(who)}: {_text(why)}"
             for who, why, n in report.skips[:SKIPS]]  # fmt: skip
    notes = [f"- {_text(line)}" for line in report.notes]
    where = []
    for part in report.parts:
        if part.run:
            told = dict(machine(part.run))
            names = [told[n] for n in ("CPU", "GPU", "versions", "commit") if n in told]
            where.append(f"- {_text(part.path.name)}: {_text(' · '.join(names))}")
    return ["\n".join(lines) for lines in (skips, notes, where)]


def _text(text: str) -> str:
    """As Markdown shows it literally, in one line."""
    line = " ".join(text.split())
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"),
                          ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):  # fmt: skip
        line = line.replace(sign, instead)
    return line
