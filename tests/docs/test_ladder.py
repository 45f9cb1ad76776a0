"""The CUDA ladder in docs/learn/cuda.md is what the kernels' heads say, and records, where there
are any.
"""

import importlib.util
import json

import pytest

from tests.docs.pages import CHINESE, DOCS, LEARN


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """docs/ladder.py as a module, with a history of its own: a run, a rehearsal, another row."""
    spec = importlib.util.spec_from_file_location("ladder", DOCS / "ladder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HISTORY", tmp_path)
    return module


RECORD = {
    "key": "time/rn_3x3_64/N256/fp32/fprop/ladder",
    "gpu": "a card",
    "rehearsal": False,
    "entries": {"cupy:direct contiguous": {"median_ns": 1234567.0}, "cupy:stem": {"reason": "no"}},
}


def keep(folder, *records):
    """A file of records, as ``make gpu`` writes them."""
    path = folder / "card" / "gpu.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n")


def test_every_step_is_told(ladder):
    """Eight steps, each with its idea, its prediction and what is still slow."""
    text = ladder.table()
    numbers = [path.stem.split("_")[1] for path in ladder.files()]
    assert sorted(set(numbers)) == list("12345678")
    assert text.count("*Predicted:* ") == text.count("*Still slow:* ") == len(numbers)
    for page, language in ((LEARN, "en"), (CHINESE, "zh")):
        assert ladder.WORDS[language]["none"] in ladder.table(language)
        assert "](../" in (page / "cuda.md").read_text()


def test_measured_times_take_the_place_of_the_sentence(ladder, tmp_path):
    """A timed step is a row; a rehearsal and other layers' rows are not told."""
    rehearsed, other = RECORD | {"rehearsal": True}, RECORD | {"key": "time/dw3_256/N1/fp32/fprop"}
    keep(tmp_path, rehearsed, other, RECORD)
    text = ladder.table()
    assert text.endswith(
        "| a card | rn_3x3_64/N256/fp32/fprop | `cupy:direct contiguous` | 1,234.6 |"
    )
    assert text.count("a card") == 1
    assert "No GPU" not in text


def test_a_rehearsal_measures_nothing(ladder, tmp_path):
    """The CPU's times are no GPU's."""
    keep(tmp_path, RECORD | {"rehearsal": True})
    assert "No GPU has run" in ladder.table()
