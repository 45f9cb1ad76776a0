"""``refconv gpu`` without a GPU: the whole run as a rehearsal, workers that are lost, kernels that
are wrong, what is done already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from refconv.backends import _cuda_conv, unavailable
from refconv.cli import main
from refconv.harness.gpu import device, goals, racing, rows, table, verify, workers
from refconv.harness.gpu.journal import Journal, read
from refconv.harness.gpu.workers import Worker, share

here = pytest.mark.skipif(
    unavailable("cuda-on-cpu") is not None, reason=str(unavailable("cuda-on-cpu"))
)
ITEM = "verify/cuda-on-cpu/conv_fprop/direct/float32/contiguous"
FAKE = """
import json, os, sys, time
for line in sys.stdin:
    item = json.loads(line)
    print(json.dumps({"at": "case 1"}), flush=True)
    if item["do"] == "die": sys.stderr.write("illegal address"); os._exit(9)
    if item["do"] == "hang": time.sleep(60)
    print(json.dumps({"done": {**item, "status": "ok", "pid": os.getpid()}}), flush=True)
"""


#: Packages that the machine with the GPU does not have, or need not have.
ABSENT = ("msgspec", "array_api_compat", "hypothesis", "PIL", "ray", "jinja2", "matplotlib", "onnx")
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def bare(tmp_path, monkeypatch) -> None:
    """Processes that are started cannot import what is ``ABSENT``."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BLOCK)
    before = os.environ.get("PYTHONPATH")
    parts = [str(tmp_path / "bare"), str(Path(__file__).parents[2]), *([before] if before else [])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))


def test_without_a_gpu_it_says_why_in_a_line(bare) -> None:
    """On a machine with no more than torch, too."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "refconv", "gpu", "--resume"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "needs a GPU: torch" in done.stderr
    assert "cupy: " in done.stderr
    absent = subprocess.run([sys.executable, "-c", "import msgspec"], capture_output=True)
    assert b"No module named 'msgspec'" in absent.stderr


@here
def test_a_rehearsal_goes_all_the_way(tmp_path, capsys, bare) -> None:
    """Verified, timed by a clock that does not measure, nothing among what was measured; by workers
    with no more than torch.
    """
    path = tmp_path / "gpu.jsonl"
    words = ["gpu", "--device", "cpu", "--records", str(path), "--rows", "1"]
    only = f"{ITEM},ceilings,time/pool3s2_64/N2/fp32/fprop"
    assert main([*words, "--only", only]) == 0
    said = capsys.readouterr().out
    assert "REHEARSAL" in said
    assert "verified 1/1" in said
    assert "goal max pooling without indices (>= 1.4x, >= 85% of copy): not measured" in said
    found = {r["key"]: r for r in read(path)}
    assert found[ITEM]["failed"] == 0
    assert found[ITEM]["cases"] > 20
    assert all(r["rehearsal"] for r in found.values())
    assert main([*words, "--only", only, "--resume"]) == 0
    again = [r["key"] for r in read(path)]
    assert again.count(ITEM) == 1


def test_a_lost_worker_is_one_item_s_end(tmp_path) -> None:
    """It is told where it was, the rest goes on, and what is lost again and again is given up."""
    told: list = []
    items = [
        {"key": str(i), "do": do} for i, do in enumerate(["", "die", "", "hang", "die", "die"])
    ]
    make = lambda: Worker([sys.executable, "-c", FAKE], patience=3.0)  # noqa: E731
    left = share([items], make, 2, time.monotonic() + 60, told.append, lambda item: "family")
    assert left == 0
    assert [r["status"] for r in told] == ["ok", "crashed", "ok", "hung", "crashed", "given up"]
    assert "illegal address (at case 1)" in told[1]["reason"]
    assert told[0]["pid"] != told[2]["pid"]


def test_time_is_over_for_who_is_slow() -> None:
    told: list = []
    make = lambda: Worker([sys.executable, "-c", FAKE], patience=30.0)  # noqa: E731
    items = [{"key": "1", "do": "hang"}, {"key": "2", "do": ""}]
    assert share([items], make, 1, time.monotonic() + 2, told.append, lambda i: i["key"]) == 2
    assert told == []


@here
def test_a_wrong_kernel_fails_and_has_no_time(monkeypatch) -> None:
    """A plan that launches nothing is found in verification, and its row gets no time."""
    item = next(i for i in verify.items(("cuda-on-cpu",)) if i["key"] == ITEM)
    cpu = device.of("cpu")
    assert verify.verify(item, cpu, lambda where: None)["status"] == "ok"
    monkeypatch.setattr(_cuda_conv, "fprop_direct", lambda given: [])
    record = verify.verify(item, cpu, lambda where: None)
    assert record["status"] == "wrong"
    assert any(" wrong; at " in f["reason"] for f in record["failures"])
    row = {
        "case": "x", "text": "conv2d x[1,3,5,5] w[2,3,3,3]", "precision": "fp32", "way": "fprop",
        "goal": "strict", "ladder": True,
    }  # fmt: skip
    timed = racing.race({"row": row}, cpu, lambda where: None)
    broken = timed["entries"]["cuda-on-cpu:direct contiguous"]
    assert broken["status"] == "wrong"
    assert not set(broken) & set(racing.TIMES)
    assert timed["status"] == "wrong"


def test_records_of_other_kernels_are_not_done(tmp_path) -> None:
    path = tmp_path / "gpu.jsonl"
    first = Journal(path, {"gpu": "a", "tree": "1"})
    first.write({"key": "k", "kind": "verify", "status": "ok", "worst": [float("nan"), 1.0]})
    first.close()
    with path.open("a") as file:
        file.write('{"cut off')
    assert "k" in Journal(path, {"gpu": "a", "tree": "1"}, [path]).done
    assert "k" not in Journal(path, {"gpu": "a", "tree": "2"}, [path]).done
    assert "k" not in Journal(path, {"gpu": "a", "tree": "1"}).done
    assert [r["worst"] for r in read(path)] == [[None, 1.0]]


def _timed(ratio: float, goal: str = "strict") -> dict:
    row = {"case": "x", "text": "conv2d x[1,1,1,1] w[1,1,1,1]", "precision": "fp32", "goal": goal}
    entries = {"torch contiguous": {"median_ns": 1000.0 * ratio}, "cupy:a contiguous": {
        "median_ns": 1000.0, "speedup": ratio, "status": "ok"}}  # fmt: skip
    return {"key": f"time/{ratio}", "kind": "time", "status": "ok", "row": row, "entries": entries,
            "torch": "torch contiguous", "moved": 1000, "flops": 1}  # fmt: skip


def test_goals_are_met_by_every_row_or_not_at_all() -> None:
    ceilings = {"copy": 1e12, "fp32": 1e12}
    told = {g["goal"]: g for g in goals.evaluate([_timed(1.6), _timed(1.5)], ceilings)}
    assert told["strict"]["met"] is True
    assert told["dense"]["met"] is None
    told = {g["goal"]: g for g in goals.evaluate([_timed(1.6), _timed(1.4)], ceilings)}
    assert told["strict"]["met"] is False
    assert told["strict"]["where"] == "time/1.4"


def test_a_captured_graph_is_on_the_page() -> None:
    journal = Journal(None, {"gpu": "a", "tree": "1"})
    record = _timed(1.6)
    record["entries"]["torch contiguous"]["graph_ns"] = 3000.0
    record["entries"]["cupy:a contiguous"]["graph_ns"] = 1500.0
    journal.write(record)
    assert "(graph: 1.5 us, 2.00x)" in "\n".join(table.lines(journal, 0))
    record["entries"]["cupy:a contiguous"]["graph"] = "capture failed"
    journal.write(record)
    assert "(not captured: capture failed)" in "\n".join(table.lines(journal, 0))


def test_what_failed_is_on_the_page(tmp_path) -> None:
    journal = Journal(None, {"gpu": "a", "tree": "1"})
    item = {"kind": "verify", "backend": "cupy", "slot": "s", "algorithm": "a"}
    journal.write({**item, "key": "verify/a", "status": "ok"})
    assert not table.failed(journal)
    journal.write({**item, "key": "verify/b", "status": "crashed", "reason": "gone (at here)"})
    assert table.failed(journal)
    page = "\n".join(table.lines(journal, 3))
    assert "verified 1/2" in page
    assert "FAILED verify/b: crashed: gone (at here)" in page
    assert "3 items are left" in page


def test_rows_begin_with_the_stem() -> None:
    assert workers.command("cpu")[-1] == "cpu"
    assert json.loads(json.dumps(rows.items()[0]))["key"].startswith("time/rn_stem/N256/bf16")


def test_a_gpu_that_is_required_and_missing_is_a_failure() -> None:
    """Else the same tests are skipped, with the reason."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k"]
    words += ["gather and contiguous and float32", str(Path(__file__).parent / "test_on_gpu.py")]
    root = Path(__file__).parents[2]
    for more, code, said in (([], 0, "skipped"), (["--require-gpu"], 1, "--require-gpu: torch")):
        done = subprocess.run([*words, *more], capture_output=True, text=True, cwd=root)
        assert done.returncode == code, done.stdout
        assert said in done.stdout
