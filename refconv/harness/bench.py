"""The benchmark: one case, one way through it, every candidate beside torch; timed in turns, judged
before and after.

Nothing is timed that did not pass on whole and on real numbers, in poisoned and guarded memory; and
the result of the last timed launch is judged again, so that a time always belongs to a right
answer. The turns themselves are ``race``'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch

from .. import guard, label
from ..errors import RefconvError, UnsupportedError
from . import contestants, environment, judging, passes, room
from .cases import with_batch
from .compare import make_trials
from .contestants import Contestant
from .judging import Trial, changed
from .networks import Network
from .race import Entry, Options, Taken, failed, timed_rows
from .records import Bench, Check
from .remembering import remembered


def bench(case: Any, options: Options) -> Iterator[Bench]:
    """The rows of one case, torch's first in every way that it has."""
    ways = [way for way in options.ways if passes.exists(case.problem, way)]
    if not ways:
        return
    if refused := getattr(case, "refused", "") or room.lacking(case.problem):
        yield from (blank(case, way, Contestant("torch"), options, reason=refused) for way in ways)
        return
    backward = any(way not in ("fprop", "indices") for way in ways)
    trials = make_trials(case.problem, judging.Options(backward=backward, seed=options.seed))
    for trial in trials:  # each is judged before the timing and behind it
        trial.expected = [remembered(e) for e in trial.expected]
    for way in ways:
        yield from _way(case, way, trials, options)


def _way(case: Any, way: str, trials: list[Trial], options: Options) -> list[Bench]:
    """All rows of one way: judge, time together, judge again."""
    problem, threads = case.problem, torch.get_num_threads()
    entries: list[Entry] = []
    twins: list[tuple[Contestant, Entry]] = []
    for who in contestants.of(problem, way, options):
        entry = Entry(who, blank(case, way, who, options))
        same = [e for e in entries if who.ours and e.row.backend == entry.row.backend
                and e.row.algorithm == entry.row.algorithm != ""]  # fmt: skip
        if same:  # fast chose what strict chose: one measurement is both
            twins.append((who, same[0]))
            continue
        judge(entry, problem, way, trials)
        entries.append(entry)
    timed_rows(
        entries, options, threads, lambda e, taken: _judge_launch(e, taken, problem, trials[-1])
    )
    rows = [e.row for e in entries]
    return rows + [changed(e.row, accuracy=who.accuracy) for who, e in twins]


def blank(case: Any, way: str, who: Contestant, options: Options, reason: str = "") -> Bench:
    """A row that says what would be timed; skipped until it is."""
    problem = case.problem
    flops, moved = passes.work(problem, way)
    try:
        algorithms = () if reason else who.algorithms(problem, way)
    except RefconvError as error:
        algorithms, reason = (), str(error)
    return Bench(
        case=case.name,
        label=label.format(problem),
        source=getattr(case, "source", ""),
        op=problem.op,
        way=way,
        backend=who.backend,
        accuracy=who.accuracy,
        algorithm="/".join(dict.fromkeys(algorithms)),
        dtype=problem.dtype,
        precision=environment.precision("" if who.ours else "cpu", problem.dtype),
        status="skipped",
        reason=reason,
        cold=options.cold,
        flops=flops,
        moved=moved,
        seed=options.seed,
        predicted=who.predicted,
        chosen=who.chosen,
    )


def judge(
    entry: Entry,
    problem: Any,
    way: str,
    trials: list[Trial],
    part: Callable[[Any], Any] = lambda found: found,
) -> None:
    """Run on all data in guarded memory; what passes gets the call that is timed.

    Args:
        part: what of the results is judged, where the trials expect only some of them.
    """
    who, row = entry.who, entry.row
    if row.reason:
        return
    for trial in trials:
        if trial.doubts:
            text = f"our float64 and torch's disagree: {trial.doubts[0].reason}"
            entry.row = changed(row, status="doubt", reason=text, checks=tuple(trial.doubts))
            return
        own = {n: a.clone() for n, a in trial.arrays.items()}
        try:
            with torch.no_grad(), who.settings():
                call = who.bind(problem, own, trial.grad, way)
                with guard.checked():
                    found = call()
        except guard.GuardError as error:
            entry.row = changed(row, status="wrong", reason=f"on {trial.data} data: {error}")
            return
        except Exception as error:  # whatever one candidate does, the others must still run
            entry.row = failed(row, who, error)
            return
        entry.row = row = judged(row, who, part(found), problem, trial, "")
        if row.status in ("wrong", "error"):
            return
    entry.call = call


def _judge_launch(entry: Entry, taken: Taken, problem: Any, trial: Trial) -> None:
    """Judge what the last timed launch returned; if that is wrong, there is no time."""
    entry.row = judged(entry.row, entry.who, taken.result, problem, trial, "in the timed launch: ")
    if entry.row.status in ("wrong", "error"):
        entry.call = None


def judged(
    row: Bench, who: Contestant, found: Any, problem: Any, trial: Trial, where: str
) -> Bench:
    """The row with the checks of these results; status ok, suspect or wrong."""
    values = found if isinstance(found, tuple | list) else (found,)
    names = passes.RESULTS[row.way]
    results = {n: who.tensor(v) for n, v in zip(names, values, strict=False)}
    algorithms = dict(zip(names, who.algorithms(problem, row.way), strict=False))
    checks: list[Check] = []
    hints: list[str] = [row.hint] if row.hint else []
    for e in trial.expected:
        if e.name not in names:
            continue
        about = changed(row, algorithm=algorithms.get(e.name, ""))
        check, hint = judging.checked(
            results.get(e.name), e, problem, trial.data, about, judging.Options()
        )
        checks.append(check)
        hints += [hint] if hint and hint not in hints else []
    wrong = [c for c in checks if not c.ok]
    row = changed(row, checks=tuple(checks), hint="; ".join(hints))
    if not checks:
        return changed(row, status="error", reason=f"no reference for {', '.join(results)}")
    if not wrong:
        return changed(row, status="suspect" if row.status == "suspect" else "ok")
    reason = f"{where}{wrong[0].result} on {wrong[0].data} data: {wrong[0].reason}"
    doubtful = {c.kind for c in wrong} == {"noise"}
    return changed(row, status="suspect" if doubtful else "wrong", reason=reason)


def batched(cases: Iterable[Any], batch: int) -> list[Any]:
    """The cases with another batch size, of a network its input's first axis, and a name that
    says so; cases that differed only in their batch become one.

    Raises:
        UnsupportedError: a case has no batch.
    """
    made: dict[str, Any] = {}
    for case in cases:
        name = f"{re.sub(r'_N[0-9]+$', '', case.name)}_N{batch}"
        if isinstance(case, Network):
            made[name] = replace(case, name=name, shape=(batch, *case.shape[1:]))
            continue
        problem = with_batch(case.problem, batch)
        if problem is None:
            raise UnsupportedError(f"--batch: {case.name} ({case.problem.op}) has no batch axis")
        made[name] = replace(case, name=name, problem=problem)
    return list(made.values())
