"""Regenerate what stands between markers in the pages, from the registry and recorded runs.

``python docs/readme.py`` rewrites the READMEs, the pages in ``PAGES`` and the pictures; ``--check``
only says what is stale (exit 1). Figures come from the records under bench/history and from nowhere
else. The chart of scaling needs matplotlib, but only once its record changed.
"""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from refconv.backends import SLOTS, registry
from refconv.cli.bench_report import show
from refconv.cli.render import Report
from refconv.cli.tables import set_table, totals
from refconv.harness.records import Environment, Result, read
from refconv.oracle.check.report import Report as CheckReport

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also where this is loaded as a module
import asked
import ladder
import scaling
import speed

ROOT = Path(__file__).resolve().parent.parent
HISTORY = ROOT / "bench" / "history" / "cpu-epyc-2core"
SAMPLE = HISTORY.with_name("cpu-epyc-25.1-2core") / "readme-sample.jsonl"
CLASSICS = HISTORY / "classics.jsonl"
CHECK = HISTORY / "check-sample.json"
PICTURE = ROOT / "docs" / "images" / "compare.svg"
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
REFERENCE = ROOT / "docs" / "reference"
LEARN, CHINESE = ROOT / "docs" / "learn", ROOT / "docs" / "zh" / "learn"
PAGES = [
    *READMES,
    REFERENCE / "cpu-layers.md",
    REFERENCE / "bench.md",
    LEARN / "cuda.md",
    ROOT / "docs" / "zh" / "learn" / "cuda.md",
    LEARN / "questions.md",
    CHINESE / "questions.md",
]


def report(path: Path) -> Report:
    """The last run in a records file."""
    run, rows = None, []
    for record in read(path):
        if isinstance(record, Environment):
            run, rows = record, []
        elif isinstance(record, Result):
            rows.append(record)
    assert run is not None, f"{path} holds no run"
    return Report(run=run, rows=rows, again="--seed 0")


def support() -> str:
    """Which algorithm fills which slot of which backend; or why none does."""
    backends = list(registry().values())
    lines = [
        "| slot | " + " | ".join(b.name for b in backends) + " |",
        "|---" * (len(backends) + 1) + "|",
    ]
    for slot in SLOTS:
        cells = [", ".join(f"`{a.name}`" for a in b.slots.get(slot, ())) or "–" for b in backends]
        lines.append(f"| {slot} | " + " | ".join(cells) + " |")
    lines.append("")
    for b in backends:
        missing = [slot for slot in SLOTS if not b.slots.get(slot)]
        if len(missing) == len(SLOTS):
            lines.append(f"`{b.name}` ({b.device}): unsupported: its kernels are not written yet.")
        elif missing:
            lines.append(f"`{b.name}` ({b.device}): not written yet: {', '.join(missing)}.")
    lines.append("Every filled slot takes 1-D, 2-D and 3-D problems and every dtype of the op, but")
    lines.append("of CUDA C++: float64, float32, float16 and bfloat16. `cupy` has met no GPU yet;")
    lines.append("`cuda-on-cpu` runs the same files on the CPU, for tests and for reading.")
    return "\n".join(lines)


def printed(what: Report) -> str:
    """What ``refconv compare`` prints for these records when piped."""
    out = io.StringIO()
    with redirect_stdout(out):
        what.show()
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def command(what: Report) -> str:
    """The command that made the records, without where it kept them."""
    return what.run.command.partition(" --records")[0]


def sample() -> str:
    """One case, as the terminal shows it."""
    made = report(SAMPLE)
    return f"```\n$ {command(made)}\n{printed(made)}\n```"


def classics() -> str:
    """The classics, and the machine that they were timed on."""
    made = report(CLASSICS)
    console = Console(file=io.StringIO(), width=110, highlight=False)
    for table in (set_table(made), totals(made)):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = "\n".join(line.rstrip() for line in text.splitlines())
    return f"{made.machine}\n\n```\n{rows}\n```"


def picture() -> str:
    """The sample as an SVG of a terminal."""
    made = report(SAMPLE)
    console = Console(record=True, width=112, file=io.StringIO(), highlight=False)
    console.print(Text(f"$ {command(made)}", "bold"))
    for line in printed(made).splitlines():
        style = "bold green" if line.startswith("✔") else "dim" if "skipped" in line else ""
        console.print(Text(line, style), overflow="ellipsis", no_wrap=True)
    svg = console.export_svg(title="refconv compare", theme=MONOKAI, unique_id="refconv")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing from the network


def checked() -> str:
    """A recorded check of the example with a fault, as the terminal shows it."""
    made = msgspec.json.decode(CHECK.read_bytes(), type=CheckReport)
    console = Console(file=io.StringIO(), width=110, highlight=False)
    console.print(made)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = "\n".join(line.rstrip() for line in text.splitlines())
    return f"```\n$ refconv check {made.name}\n{rows}\n```"


def layers(name: str) -> str:
    """A recorded benchmark: its table, what it comes to, and the machine."""
    made = speed.recorded(name)
    if made is None:
        return speed.unrecorded(name)
    out = io.StringIO()
    with redirect_stdout(out):
        show(made)
    rows = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return f"```\n$ {speed.command(made)}\n{rows}\n```"


BLOCKS = {
    "support": support,
    "sample": sample,
    "speed": classics,
    "check": checked,
    "classes": speed.classes,
    "networks": speed.networks,
    "layers": lambda: layers("cpu"),
    "training": lambda: layers("cpu-train"),
    "scaling": speed.growth,
    "ladder": ladder.table,
    "ladder_zh": lambda: ladder.table("zh"),
    "questions": lambda: asked.page("en"),
    "questions_zh": lambda: asked.page("zh"),
}


def rewritten(text: str) -> str:
    """A README with every marked block made anew."""
    for name, make in BLOCKS.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if pattern.search(text):
            made = make()
            text = pattern.sub(lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text)
    return text


def main(check: bool) -> int:
    """Rewrite what is stale, or with ``check`` name it."""
    wanted = {path: rewritten(path.read_text()) for path in PAGES} | {PICTURE: picture()}
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text() != text]
    made = speed.recorded("scaling")
    drawn = scaling.PICTURE.read_text() if scaling.PICTURE.exists() else ""
    if made is not None and scaling.mark(made) not in drawn:
        stale.append(scaling.PICTURE)
    if check:
        if stale:
            print(f"stale: {', '.join(p.name for p in stale)}; run: make readme")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scaling.draw(made) if path == scaling.PICTURE else wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
