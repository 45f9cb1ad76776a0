"""Reports: files in any state, a bounded memory, and the same findings on every kind of paper."""

import json
import re
import sys
import tracemalloc
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from refconv import cli
from refconv.harness import records as kept
from refconv.harness.records import Bench, Ceilings, Check, Environment, Result, Timing, encode
from refconv.harness.report import findings, page, reading, schema, summary, trend
from refconv.harness.report.junit import junit
from refconv.harness.report.markdown import markdown
from refconv.harness.report.sarif import sarif

ROOT = Path(__file__).resolve().parents[2]
RUN = Environment(
    command="refconv bench <cpu>",
    started="2026-01-01T10:00:00+00:00",
    python="3.11",
    versions={"torch": "2", "numpy": "2", "numba": "1"},
    cpu="a CPU",
    cores=2,
    threads={"torch": 2, "numba": 2},
    precision={"cpu": "fp32"},
    allocator="default",
    commit="abcdef1",
    schema=kept.BENCH,
)
CEILINGS = Ceilings(copy=2e10, fma=1e11, sgemm=9e10, by="numpy", threads=2)
#: A line as the first version of the records had it.
FIRST = (
    '{"record":"result","case":"lenet","label":"conv2d x[1,1,5,5] w[1,1,3,3]","op":"conv2d",'
    '"backend":"numba","device":"cpu","status":"ok","checks":[{"result":"output","data":"real",'
    '"ok":true,"ratio":0.1}]}'
)


def timing(ratio: float, ns: float = 1e6, rounds: int = 8) -> Timing:
    """Rounds that scatter by 2 %."""
    samples = tuple(ns * ratio * (0.99 + 0.02 * i / rounds) for i in range(rounds))
    return Timing(timer="wall", calls=3, samples_ns=samples, clean=(True,) * rounds,
                  median_ns=ns * ratio, iqr_ns=1e4, vs_torch=ratio)  # fmt: skip


def bench(case: str, ratio: float, noise: float = 0.5, **given) -> Bench:
    """One of our rows."""
    check = Check(result="output", data="real", ok=True, ratio=0.1, noise=noise)
    values = {"backend": "numba", "status": "ok", "algorithm": "direct", "accuracy": "strict",
              "checks": (check,), "timing": timing(ratio), "dtype": "float32", "flops": 2_000_000,
              "moved": 100_000, "interval": (ratio * 0.98, ratio * 1.02)} | given  # fmt: skip
    return Bench(case=case, label=f"conv2d {case}", op="conv2d", way="fprop", **values)


def torch_row(case: str) -> Bench:
    return bench(case, 1.0, 0.4, backend="torch", accuracy="", algorithm="", interval=None)


WRONG = Result(
    case="<b>bad</b>", label="conv2d x[1,1,5,5] w[1,1,3,3]", op="conv2d", backend="numba",
    device="cpu", status="wrong", reason="3 of 9 wrong; at [0,0] got 1, want 2 & <more>", seed=4,
    algorithm="tiny", checks=(Check(result="grad_input", data="real", ok=False, wrong=3),),
)  # fmt: skip
SKIPPED = msgspec.structs.replace(
    WRONG, case="none", backend="cupy", status="skipped", checks=(), reason="no CUDA driver"
)
LAYERS = [bench("quick", 0.5), bench("slow", 1.9, 0.7), bench("rough", 0.8, 3.2)]
TORCH = [torch_row(r.case) for r in LAYERS]


def write(path: Path, *lines) -> Path:
    """Records, or text, a line each."""
    made = [x.encode() if isinstance(x, str) else encode(x) for x in lines]
    path.write_bytes(b"\n".join(made) + b"\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A benchmark, and a comparison with a failure."""
    folder = tmp_path_factory.mktemp("records")
    compare = msgspec.structs.replace(RUN, schema=kept.SCHEMA)
    return [
        write(folder / "bench.jsonl", RUN, CEILINGS, *LAYERS, *TORCH),
        write(folder / "compare.jsonl", compare, WRONG, SKIPPED),
    ]


@pytest.fixture(scope="module")
def report(files):
    return findings.Report(summary.read(files))


def test_the_slowest_the_least_accurate_and_the_failing_are_found(report):
    assert report.headline == "✘ 1 of 7 results not right: 1 wrong; 1 skipped"
    assert report.exit_code == 1
    assert report.slowest.case == "slow"
    assert report.roughest.case == "rough"
    (failure,) = report.failures
    assert failure.where.endswith("compare.jsonl:2")
    assert failure.repro == (
        "refconv compare 'conv2d x[1,1,5,5] w[1,1,3,3]' --backends numba:tiny --seed 4 --backward"
    )
    assert report.skips == [("cupy", "no CUDA driver", 1)]
    assert report.table[0].failed


#: What is in a file, what is said of it, and how many records there still are.
STATES = [
    ("", "empty: nothing to show", 0),
    ("\n\n", "empty: nothing to show", 0),
    ("hello\nworld\n", ":1: damaged (JSON is malformed: invalid character): the line is left out "
     "(1 more such line)", 0),
    ("hello", ":1: damaged (JSON is malformed: invalid character): the line is left out", 0),
    ("\0\1\2", "no text: the file is left out", 0),
    ('{"a": 1}\n', ":1: JSON, but no record of refconv's (it has a)", 0),
    ("[1, 2]\n", ":1: JSON, but no record", 0),
    (f"{FIRST}\n{FIRST[:60]}", ":2: cut off, as a killed run leaves it: the line is left out", 1),
    (f"{FIRST}\n{FIRST[:60]}\n{FIRST}\n", ":2: damaged (JSON is malformed: invalid character)", 2),
    (f'{FIRST}\n{{"record":"bench","case":3}}\n', ":2: a damaged bench record (Object missing", 1),
    (FIRST.replace('"lenet"', "3") + "\n" + FIRST + "\n",
     ":1: a damaged record (Expected `str`, got `int` - at `$.case`): counted, but not shown", 2),
    ('{"schema":"refconv.check/7","verdict":"wrong"}\n',
     ":1: refconv.check/7 is newer than refconv.check/1", 0),
    ('{"schema":"other/1"}\n', ":1: schema other/1 is not one of refconv's", 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said", "good"), STATES)
def test_a_file_in_any_state_gives_one_line_and_what_is_good(tmp_path, text, said, good):
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    made = summary.read([path])
    (line,) = made.troubles
    assert line.startswith(str(path))
    assert said in line
    assert made.total == good


def test_a_run_of_a_newer_version_is_left_out_to_its_end(tmp_path):
    newer = msgspec.structs.replace(RUN, schema="refconv.bench/2")
    path = write(tmp_path / "r.jsonl", RUN, bench("old", 1.1), newer, *LAYERS, RUN, bench("new", 1))
    made = summary.read([path], every=True)
    assert [r.case for p in made.parts for r in p.rows] == ["old", "new"]
    assert "r.jsonl:3: refconv.bench/2 is newer" in made.troubles[0]
    assert made.troubles[0].endswith("(3 more such lines)")


def test_the_first_version_is_still_read(tmp_path):
    path = write(tmp_path / "r.jsonl", FIRST)
    (part,) = summary.read([path]).parts
    assert (part.kind, part.run, part.rows[0].case) == ("compare", None, "lenet")


def test_a_missing_file_is_said_and_the_others_are_shown(files, tmp_path):
    made = summary.read([tmp_path / "none.jsonl", *files])
    assert made.troubles == [
        f"{tmp_path / 'none.jsonl'}: cannot be read: No such file or directory: left out"
    ]
    assert made.total == 8


def test_the_last_run_of_each_kind_counts(tmp_path):
    path = write(tmp_path / "r.jsonl", RUN, bench("a", 2), RUN, bench("b", 1))
    made = summary.read([path])
    assert [r.case for p in made.parts for r in p.rows] == ["b"]
    assert made.earlier == {path: 1}
    assert len(summary.read([path], every=True).parts) == 2


def test_what_json_wrote_and_the_checks_are_read(tmp_path, files):
    whole = tmp_path / "compare.json"
    run, *rows = (r for _, r in reading.Files(whole=True).read(files[1]))
    document = {"schema": kept.SCHEMA, "run": run, "results": rows, "verdict": ""}
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    sample = ROOT / "bench" / "history" / "cpu-epyc-2core" / "check-sample.json"
    made = findings.Report(summary.read([whole, sample]))
    assert made.summary.troubles == []
    assert {f.status for f in made.failures} == {"wrong"}
    fault = next(f for f in made.failures if f.script)
    assert "import torch" in fault.repro
    assert fault.diagnosis


def test_the_journals_of_gpu_and_check_are_read(tmp_path):
    entry = {"status": "ok", "median_ns": 5e4, "speedup": 0.5, "interval": [0.4, 0.8], "noise": 0.6}
    row = {"case": "rn", "text": "conv2d x[1,1,5,5] w[1,1,3,3]", "precision": "bf16",
           "way": "fprop"}  # fmt: skip
    gpu = {"record": "gpu", "schema": "refconv.gpu/1", "gpu": "X1", "rehearsal": True}
    path = write(
        tmp_path / "g.jsonl",
        json.dumps(gpu | {"key": "time/rn", "kind": "time", "row": row, "flops": 9, "moved": 3,
                          "entries": {"cuda:direct contiguous": entry}}),
        json.dumps(gpu | {"key": "verify/x", "kind": "verify", "status": "wrong", "slot": "s",
                          "failures": [{"case": "c", "reason": "NaN"}]}),
        '{"type":"check","target":"m:f","op":"conv2d","device":"cpu","precision":"ieee",'
        '"algorithm":"direct","dtypes":[],"seed":3,"cases":1,"digest":""}',
        '{"type":"outcome","index":0,"op":"conv2d","case":"one","status":"wrong","findings":'
        '[{"result":"output","level":"wrong","kind":"value","reason":"off"}]}',
    )  # fmt: skip
    made = findings.Report(summary.read([path]))
    assert made.slowest.ratio == 2.0
    assert (made.slowest.low, made.slowest.high) == (1.25, 2.5)
    assert [(f.reason, f.repro) for f in made.failures] == [
        ("c: NaN", "refconv gpu --only verify/x"),
        ("output: off", "refconv check m:f --op conv2d --device cpu --seed 3"),
    ]
    assert "rehearsal" in made.notes[-1]


def test_memory_does_not_grow_with_the_records(tmp_path, monkeypatch):
    """Ten thousand take no more than the few hundred that are kept."""
    monkeypatch.setattr(summary, "ROWS", 300)
    lines = [encode(RUN)] + [encode(r) for r in LAYERS] * 3334
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    del lines
    tracemalloc.start()
    (part,) = summary.read([path]).parts
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part.total == 10_002
    assert sum(part.noises["numba"].values()) == 10_002
    assert len(part.rows) == 300
    assert peak < 1_500_000, f"{peak:,} bytes: are records kept?"


def test_the_draw_is_even(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "ROWS", 100)
    rows = [encode(bench(str(i), 1.0)) for i in range(1000)]
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\n".join([encode(RUN), *rows]) + b"\n")
    (part,) = summary.read([path]).parts
    late = sum(int(r.case) >= 500 for r in part.rows)
    assert 30 < late < 70
    assert "of 1,000 rows" in findings.Report(summary.Summary([part])).left_out


def test_the_page_says_first_what_matters_and_loads_nothing(report):
    html = page.page(report)
    first = html[html.index("<body>") : html.index("<main>")]
    for words in ("✘ 1 of 7 results not right", "Slowest layer beside torch", ">slow<",
                  "Least accurate layer", ">rough<", "1.90× torch"):  # fmt: skip
        assert words in first, words
    for part in ("charts", "failing", "table", "skipped", "environment", "speed", "roofline",
                 "accuracy", "cost", "noises", "bounds"):  # fmt: skip
        assert f'id="{part}"' in html, part
    assert "&lt;b&gt;bad&lt;/b&gt;" in html
    assert "<b>bad</b>" not in html
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert " style=" not in html[html.index("<body>") :], "the policy allows no inline style"
    assert "default-src 'none'" in unescape(html)
    assert "<text" in html, "text is text"
    assert not re.search(r"#0102[0-9a-f]{2}", html), "a colour that is no variable"


def test_a_missing_extra_is_one_line(files, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["report", str(files[0]), "-o", str(tmp_path / "r.html")]) == cli.UNAVAILABLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "matplotlib is not installed: pip install 'refconv[report]'" in line
    assert cli.main(["report", str(files[0]), "--md"]) == cli.OK


def test_the_command_writes_what_is_asked_for(files, tmp_path, capsys):
    names = [str(tmp_path / name) for name in ("r.md", "r.xml", "r.sarif")]
    words = ["--md", names[0], "--junit", names[1], "--sarif", names[2]]
    assert cli.main(["report", *map(str, files), *words]) == cli.DIFFERS
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("✘ 1 of 7 results not right")
    assert "slowest beside torch: slow, 1.90× torch's time (1.86–1.94)" in out[1]
    assert all(Path(name).stat().st_size for name in names)
    assert not (tmp_path / "report.html").exists()


def test_nothing_to_show_is_a_line(tmp_path, capsys):
    path = write(tmp_path / "r.jsonl", '{"a": 1}')
    assert cli.main(["report", str(path)]) == cli.USAGE
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"refconv: report: no record to show in {path}"
    )


COUNTS = {"tests", "failures", "errors", "skipped"}


def test_junit_counts_what_it_holds(report):
    root = ET.fromstring(junit(report))
    assert root.tag == "testsuites"
    total = {k: sum(int(suite.get(k)) for suite in root) for k in root[0].attrib.keys() & COUNTS}
    assert total == {"tests": 8, "failures": 1, "errors": 0, "skipped": 1}
    for suite in root:
        assert suite.tag == "testsuite"
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        assert all(case.get("name") and case.get("classname") for case in cases)
        assert all(float(case.get("time")) >= 0 for case in cases)
    (failure,) = root.iter("failure")
    assert failure.get("type") == "wrong"
    assert "got 1, want 2 & <more>" in failure.get("message")
    assert "refconv compare" in failure.text


def test_sarif_names_the_record(report):
    document = json.loads(sarif(report))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    (result,) = run["results"]
    assert rules[result["ruleIndex"]] == result["ruleId"] == "refconv-wrong"
    assert result["level"] in ("none", "note", "warning", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 2
    assert place["artifactLocation"]["uri"].endswith("compare.jsonl")
    assert "Again:\nrefconv compare" in result["message"]["text"]


def test_markdown_shows_names_literally(report):
    text = markdown(report)
    assert text.startswith("### ✘ 1 of 7 results not right")
    assert "&lt;b&gt;bad&lt;/b&gt;" in text
    assert "**slow**, 1.90× torch's time" in text
    assert "skipped 1 times: cupy: no CUDA driver" in text


def test_the_schema_in_the_docs_is_the_programs():
    path = ROOT / "docs" / "reference" / "records.schema.json"
    assert path.read_text() == schema.text(), "refconv report --schema > docs/reference/…"


def test_the_records_in_the_repository_are_of_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    judge = jsonschema.Draft202012Validator(schema.document())
    folder = ROOT / "bench" / "history" / "cpu-epyc-2core"
    lines = (folder / "classics.jsonl").read_text().splitlines()[:40]
    lines += (folder.parent / "cpu-epyc-25.1-2core" / "networks.jsonl").read_text().splitlines()
    for text in [*lines, (folder / "check-sample.json").read_text(), FIRST]:
        assert judge.is_valid(json.loads(text)), text[:200]
    for wrong in ({"record": "bench", "case": 3}, {"a": 1}):
        assert not judge.is_valid(wrong)


def test_the_trend_says_what_the_last_run_changed(tmp_path):
    rows = lambda r: [bench("a", r), bench("b", 0.7), torch_row("a"), torch_row("b")]  # noqa: E731
    later = msgspec.structs.replace(RUN, started="2026-01-02T10:00:00+00:00", commit="1234567+")
    path = write(tmp_path / "cpu.jsonl", RUN, *rows(1.0), "{", later, *rows(1.5))
    made = trend.read([path])
    assert made.headline == "2 runs on 1 device; last changes: 1 slower, 0 faster, 1 ~, 0 noise"
    first = made.devices[0].table[0]
    assert (first.name, first.change.verdict, len(first.points)) == ("a", "slower", 2)
    assert len(made.troubles) == 1
    html = page.trend_page(made)
    assert f"refconv bench diff {path}@1 {path}@2" in html
    assert "1.50" in html
    assert "+50.0 %" in html
    assert cli.main(["report", "--trend", str(path), "-o", str(tmp_path / "t.html")]) == 0


def test_bench_diff_takes_the_runs_of_one_file(tmp_path, capsys):
    path = write(tmp_path / "cpu.jsonl", RUN, bench("a", 1), RUN, bench("a", 2), RUN, bench("a", 3))
    assert cli.main(["bench", "diff", f"{path}@1", f"{path}@2", "--fail-over", "10%"]) == 1
    assert "+100.0 %" in capsys.readouterr().out
    assert cli.main(["bench", "diff", f"{path}@1", f"{path}@4"]) == cli.USAGE
    assert "holds 3 benchmarks; there is no number 4" in capsys.readouterr().err
