"""``refconv bench``: times beside torch that belong to right answers, with what chance could do."""

from __future__ import annotations

import fnmatch
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .options import Dtype, From, InShape, NoRecords, Records, Seed

if TYPE_CHECKING:
    from ..harness.race import Options
    from ..harness.records import Record, Writer

EPILOG = (
    "Example: refconv bench cpu --only 'rn_*' --accuracy fast --records new.jsonl; then "
    "refconv bench diff old.jsonl new.jsonl"
)
DEFAULT_SET = "cpu"
ACCURACIES = {"strict": ("strict",), "fast": ("fast",), "both": ("strict", "fast")}


def command(
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CASE",
            help="A set (cpu, general, resnet50), a case of it, one problem; networks, or a model "
            "(model.py:Net). Default: cpu.",
            show_default=False,
        ),
    ] = None,
    in_shape: InShape = None,
    from_file: From = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Cases whose name fits, e.g. 'rn_*' or k4s2."),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N", help="Batch sizes in place of the cases', e.g. 1,16.")
    ] = None,
    dtype: Dtype = None,
    passes: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Of fprop, indices, dgrad, wgrad, train (both ways)."),
    ] = "fprop",
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="E.g. numba or numba:direct; may be repeated."),
    ] = None,
    accuracy: Annotated[str, typer.Option(metavar="NAME", help="strict, fast or both.")] = "both",
    all_algorithms: Annotated[
        bool, typer.Option("--all-algorithms", help="Each numba algorithm, beside its prediction.")
    ] = False,
    peers: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of onnxruntime, jax (extra peers).")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="For all; else torch's.", min=1)
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Empty the caches before each call.")
    ] = False,
    allocator: Annotated[
        str, typer.Option(metavar="NAME", help="steady: keeps freed memory; default: glibc's.")
    ] = "steady",
    clock: Annotated[
        str,
        typer.Option(metavar="NAME", help="wall, or on a busy machine thread (--threads 1)."),
    ] = "wall",
    budget: Annotated[
        float, typer.Option(metavar="SECONDS", help="Of timing per case and pass.", min=0)
    ] = 1.5,
    scaling: Annotated[
        bool, typer.Option("--scaling", help="One layer, N, C and H over two decades.")
    ] = False,
    seed: Seed = 0,
    records: Records = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Records to bench/history/MACHINE/NAME.jsonl."),
    ] = None,
    no_records: NoRecords = False,
) -> int:
    """Time layers against torch: interleaved, verified before and after, with intervals."""
    _refuse(accuracy, allocator, clock, threads, records, save, no_records)
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "24")  # as in compare: its workers spin
    if threads and "NUMBA_NUM_THREADS" not in os.environ:  # Numba's upper limit, read on import
        os.environ["NUMBA_NUM_THREADS"] = str(max(threads, os.cpu_count() or 1))
    ways = _ways(passes)

    from ..harness import contestants, environment, race
    from ..harness import records as kept

    options = race.Options(
        backends=tuple(backend or ["numba"]),
        ways=ways,
        accuracies=ACCURACIES[accuracy],
        all_algorithms=all_algorithms,
        peers=_words(peers),
        seed=seed,
        budget=budget,
        cold=cold,
        clock=clock,
    )
    run = environment.describe(
        shlex.join(["refconv", *sys.argv[1:]]),
        allocator=allocator,
        libraries=options.peers,
        threads=threads,
    )
    contestants.check(options)
    from .compare import imported

    given = [c for file in imported(from_file or [], in_shape, dtype) for c in file.cases]
    specs = cases or ([] if given else [DEFAULT_SET])
    work = _cases(given, specs, in_shape, dtype, only, batch, scaling)
    _refuse_networks(work, options)
    path = None if no_records else _path(records, save)
    writer = None if path is None else kept.Writer(path)
    made: list[Record] = [kept.stamped(run)]
    if writer:
        writer.write(made[0])
    code = _run(work, options, made, writer)
    if writer:
        print(f"records: {writer.count} appended to {writer.path}", file=sys.stderr)
    return code


def _run(work: list[Any], options: Options, made: list[Record], writer: Writer | None) -> int:
    """Time every case; print the report, also of what an interruption left."""
    from ..harness import bench, ceilings, network_bench
    from ..harness.networks import Network
    from ..harness.race import CLOCKS
    from . import bench_report, terminal

    def keep(record: Record) -> None:
        made.append(record)
        if writer:
            writer.write(record)

    interrupted = False
    try:
        keep(ceilings.measure(CLOCKS[options.clock]))
        with terminal.progress(len(work)) as step:
            for case in work:
                step(case.name)
                timed = network_bench.bench if isinstance(case, Network) else bench.bench
                for row in timed(case, options):
                    keep(row)
        keep(ceilings.measure(CLOCKS[options.clock]))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if writer:
            writer.close()
    report = bench_report.Report.of(made)
    if report.rows:
        bench_report.show(report)
    if interrupted:
        where = f"records are kept in {writer.path}" if writer else "results, none kept"
        print(f"refconv: interrupted after {len(report.rows)} {where}", file=sys.stderr)
        return 130
    return report.exit_code


def _refuse(
    accuracy: str,
    allocator: str,
    clock: str,
    threads: int | None,
    records: Path | None,
    save: str | None,
    no_records: bool,
) -> None:
    """Options that make no sense, before anything is imported."""
    for name, value, known in (
        ("--accuracy", accuracy, tuple(ACCURACIES)),
        ("--allocator", allocator, ("steady", "default")),
        ("--clock", clock, ("wall", "thread")),
    ):
        if value not in known:
            raise UsageError(f"{name}: must be {' or '.join(known)}, got {value!r}")
    if clock == "thread" and threads != 1:
        raise UsageError("--clock thread counts the calling thread alone; add --threads 1")
    if sum(bool(given) for given in (records, save, no_records)) > 1:
        raise UsageError("--records, --save and --no-records exclude each other")


def _refuse_networks(work: list[Any], options: Options) -> None:
    """What cannot be asked of a whole network, before it runs."""
    from ..harness.networks import WAYS, Network

    names = [case.name for case in work if isinstance(case, Network)]
    if names and not set(options.ways) & set(WAYS):
        raise UsageError(f"--passes: {names[0]} is a whole network, it has {', '.join(WAYS)}")
    if names and options.all_algorithms:
        raise UsageError(f"--all-algorithms: {names[0]} is a whole network; give layers")


def _ways(text: str) -> tuple[str, ...]:
    known = ("fprop", "indices", "dgrad", "wgrad", "train")
    words = _words(text)
    if not words or set(words) - set(known):
        raise UsageError(f"--passes: must be among {', '.join(known)}, got {text!r}")
    return tuple(way for way in known if way in words)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _cases(
    given: list[Any],
    specs: list[str],
    in_shape: str | None,
    dtype: str | None,
    only: list[str] | None,
    batch: str | None,
    scaling: bool,
) -> list[Any]:
    """The cases that are timed, each read before the first one runs."""
    from ..harness import cases as sets
    from ..harness import networks
    from ..harness.bench import batched
    from ..harness.scaling import cases as scaled

    found: list[Any] = [*given, *(scaled() if scaling else [])]
    for spec in () if scaling else specs:
        load = networks.load if networks.named(spec) else sets.load
        found += load(spec, in_shape=in_shape, dtype=dtype)
    if only:
        fits = [p if set(p) & set("*?[") else f"*{p}*" for p in only]
        chosen = [c for c in found if any(fnmatch.fnmatchcase(c.name, p) for p in fits)]
        if not chosen:
            raise UsageError(f"--only {' '.join(only)}: fits none of {len(found)} cases")
        found = chosen
    if batch is None:
        return found
    sizes = _words(batch)
    if not sizes or not all(size.isdecimal() and int(size) for size in sizes):
        raise UsageError(f"--batch: must be whole numbers above 0, e.g. 1,16, got {batch!r}")
    return [c for size in sizes for c in batched(found, int(size))]


def _path(records: Path | None, save: str | None) -> Path:
    """Where records go."""
    from ..harness import environment
    from ..harness import records as kept

    if save is None:
        return records or kept.default_path()
    folder = environment.history()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{save.removesuffix('.jsonl')}.jsonl"
