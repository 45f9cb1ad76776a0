"""The CUDA ladder as a table for docs/learn/cuda.md: what each file says of itself, and times from
records of a GPU, where there are any.

``docs/readme.py`` puts it between the markers; nothing here is typed by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels" / "cuda"
HISTORY = ROOT / "bench" / "history"
#: What stands around what the files say, and the way from the page to them.
WORDS = {
    "en": {
        "path": "../../kernels/cuda",
        "Predicted": "Predicted",
        "Still slow": "Still slow",
        "head": "| GPU | row | kernel | µs |",
        "none": """No GPU has run these kernels yet: every figure above is a prediction, from the
code and the card's data sheet. `make gpu`, on a machine that has one, measures them; `make readme`
then puts the times here.""",
    },
    "zh": {
        "path": "../../../kernels/cuda",
        "Predicted": "预测（Predicted）",
        "Still slow": "仍慢在（Still slow）",
        "head": "| GPU | 行 | 核 | 微秒 |",
        "none": """还没有任何 GPU 运行过这些核：上面每个数字都是由代码和显卡规格作出的预测。
在有 GPU 的机器上，`make gpu` 测出它们，`make readme` 再把时间写到这里。""",
    },
}


def files() -> list[Path]:
    """The forward pass's steps, in order."""
    return sorted(KERNELS.glob("conv_[0-9]_*.cu"), key=lambda p: (p.stem.split("_")[1], p.stem))


def header(path: Path) -> str:
    """A file's head comment as text, paragraphs kept."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("//"):
            break
        lines.append(line[2:].strip())
    return "\n".join(lines)


def part(text: str, name: str) -> str:
    r"""What a head says behind ``name:`` or ``name,``, as one line; empty where it does not say.

    Example:
        >>> part("Idea.\n\nPredicted: 2 loads\na product. Measured: no.\nStill slow.", "Predicted")
        '2 loads a product.'
    """
    _, said, rest = text.partition(f"{name}:") if f"{name}:" in text else text.partition(f"{name},")
    rest = re.split(r"Measured:|Still slow:|\n\n", rest)[0] if said else ""
    return " ".join(rest.split())


def idea(text: str) -> str:
    """The first sentences of a head, without the file's name and number."""
    first = " ".join(text.split("\n\n")[0].split()).partition(" — ")[2]
    sentences = re.split(r"(?<=\.) ", re.sub(r"^step \d: ", "", first))
    said = sentences.pop(0)
    while sentences and len(said) < 60:
        said += " " + sentences.pop(0)
    return (said[0].upper() + said[1:]).replace("*", "·")


def timed() -> list[dict[str, Any]]:
    """Records of times on a GPU, rehearsals left out."""
    found = []
    for path in sorted(HISTORY.glob("*/gpu.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if record["key"].startswith("time/") and not record.get("rehearsal"):
                found.append(record)
    return found


def measured(records: list[dict[str, Any]], language: str) -> str:
    """Times of every step of one layer that was timed; or that there are none."""
    lines = []
    for record in records:
        if record["key"].endswith("/ladder"):  # one layer, on which every step is timed
            for name, entry in sorted(record.get("entries", {}).items()):
                if "median_ns" in entry:
                    row = record["key"].removeprefix("time/").removesuffix("/ladder")
                    time = f"{entry['median_ns'] / 1e3:,.1f}"
                    lines.append(f"| {record['gpu']} | {row} | `{name}` | {time} |")
    if not lines:
        return WORDS[language]["none"]
    return "\n".join([WORDS[language]["head"], "|---|---|---|---:|", *lines])


def table(language: str = "en") -> str:
    """Every step: its idea, its prediction, what is still slow; then what was measured."""
    made, words = [], WORDS[language]
    for path in files():
        text = header(path)
        name = f"[{path.name}]({words['path']}/{path.name})"
        made += [f"**{path.stem.split('_')[1]}. {name}** {idea(text)}", ""]
        for label in ("Predicted", "Still slow"):
            if said := part(text, label):
                made += [f"- *{words[label]}:* {said.replace('*', '·')}"]
        made.append("")
    return "\n".join([*made, measured(timed(), language)])
