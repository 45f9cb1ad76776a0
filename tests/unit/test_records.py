"""Records: typed, appended one by one, readable after an interruption."""

import json

import msgspec
import pytest

from refconv.errors import UsageError
from refconv.harness.records import SCHEMA, Check, Environment, Result, Timing, Writer, encode, read


def result(**values):
    return Result(
        case="cs231n",
        label="conv2d …",
        op="conv2d",
        backend="numba",
        device="cpu",
        status="ok",
        **values,
    )


RUN = Environment(
    command="refconv compare",
    started="2026-01-01",
    python="3.11",
    versions={"torch": "2"},
    cpu="x",
    cores=2,
    threads={"torch": 2},
    precision={"cpu": "fp32"},
    allocator="default",
)
FULL = result(
    checks=(
        Check(result="output", data="real", ok=True, shape=(1, 2), worst=(0, 1), ratio=0.5),
        Check(result="output", data="integer", ok=False, kind="value", ratio=None, wrong=3),
    ),
    timing=Timing(
        timer="perf_counter",
        calls=3,
        samples_ns=(1.5, 2.5),
        clean=(True, False),
        median_ns=2.0,
        iqr_ns=1.0,
        vs_torch=0.9,
    ),
)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "r.jsonl"
    with Writer(path) as writer:
        for record in (RUN, FULL, result()):
            writer.write(record)
        assert writer.count == 2  # results; the run's line is not one
    assert list(read(path)) == [RUN, FULL, result()]


def test_every_line_names_its_schema_and_kind():
    for record, kind in ((RUN, "run"), (FULL, "result")):
        line = json.loads(encode(record))
        assert (line["schema"], line["record"]) == (SCHEMA, kind) if "schema" in line else kind


def test_a_record_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "r.jsonl"
    writer = Writer(path)
    writer.write(FULL)
    assert list(read(path)) == [FULL]  # not closed, not flushed by hand
    writer.close()


def test_runs_are_appended_never_overwritten(tmp_path):
    path = tmp_path / "r.jsonl"
    for _ in range(3):
        with Writer(path) as writer:
            writer.write(result())
    assert len(list(read(path))) == 3


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode(FULL) + b"\n" + encode(FULL)[:40])
    assert list(read(path)) == [FULL]


def test_appending_behind_a_line_that_was_cut_off_starts_a_new_one(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode(FULL)[:40])
    with Writer(path) as writer:
        writer.write(FULL)
    assert list(read(path)) == [FULL]


def test_a_line_that_is_no_record_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode(FULL) + b'\n{"record": "result"}\n')
    with pytest.raises(UsageError, match="line 2"):
        list(read(path))


def test_a_file_that_cannot_be_opened_is_one_clear_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        Writer(tmp_path / "missing" / "r.jsonl")
    with pytest.raises(UsageError, match="cannot be read"):
        list(read(tmp_path / "missing.jsonl"))


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        FULL.status = "wrong"
    assert msgspec.structs.replace(FULL, status="wrong").status == "wrong"
