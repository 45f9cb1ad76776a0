"""What a run says last, in a page: verified, failed, times beside torch, goals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import goals
from .journal import Journal

#: What is told in full, at most.
MOST = 30
BAD = ("wrong", "error", "crashed", "hung", "given up")


def lines(journal: Journal, left: int) -> Iterator[str]:
    """The page.

    Args:
        left: items that were not done in time.
    """
    mine = [r for r in journal.kind("verify") if r["backend"] != "torch"]
    judged = [r for r in mine if r["status"] != "unsupported"]
    bad = [r for r in judged if r["status"] in BAD]
    if journal.about.get("rehearsal"):
        yield "REHEARSAL on the CPU: no GPU was used, and no time below is a time"
    yield f"verified {len(judged) - len(bad)}/{len(judged)} (slot, step, dtype, layout)"
    yield from (f"  FAILED {_failure(r)}" for r in bad[:MOST])
    if len(bad) > MOST:
        yield f"  … and {len(bad) - MOST} more, in the records"
    peers = [r for r in journal.kind("verify") if r["backend"] == "torch" and r["status"] in BAD]
    yield from (f"  torch: {_failure(r)}" for r in peers[:MOST])
    for r in journal.kind("compile"):
        if r["status"] != "ok":
            yield f"  not compiled: {r['key']}: {r.get('reason', '')[:200]}"
    for r in journal.kind("sanitize"):
        told = f"{r.get('errors', 0)} errors, {r.get('hazards', 0)} hazards, "
        told += f"{r.get('done', 0)}/{r['asked']} items"
        yield f"{r['key'].partition('/')[2]}: {r['status']}: {r.get('reason') or told}"
    yield from _times(journal)
    if left:
        yield f"{left} items are left; --resume goes on with them"
    if journal.path is not None:
        yield f"records: {journal.path}"


def failed(journal: Journal) -> bool:
    """Whether anything of ours is wrong."""
    verified = any(r["status"] in BAD and r["backend"] != "torch" for r in journal.kind("verify"))
    timed = any(r["status"] in BAD for r in journal.kind("time"))
    checked = any(r["status"] == "errors" for r in journal.kind("sanitize"))
    return verified or timed or checked or any(r["status"] in BAD for r in journal.kind("compile"))


def _times(journal: Journal) -> Iterator[str]:
    ceilings = journal.done.get("ceilings", {})
    if "copy" in ceilings:
        rates = " ".join(f"{n} {ceilings[n] / 1e12:.0f}" for n in ("fp32", "tf32", "bf16"))
        yield f"ceilings: copy {ceilings['copy'] / 1e12:.2f} TB/s, TFLOP/s {rates}"
    rows = journal.kind("time")
    if rows:
        yield f"{'row':44} {'us':>9} {'x torch':>8} {'roof':>5}  step"
    for r in rows:
        best, ratio, share = goals.ours(r), goals.ratio(r), goals.share(r, ceilings)
        name = r["key"].removeprefix("time/")
        if best is None:
            yield f"{name:44} {'-':>9} {'-':>8} {'-':>5}  {r['status']}: {_reason(r)}"
            continue
        mark = "" if r["status"] == "ok" else f"  ({r['status']}: {_reason(r)})"
        told = f"{ratio:8.2f}" if ratio else f"{'-':>8}"
        part = f"{share:5.0%}" if share else f"{'-':>5}"
        mark += _graph(r, best[1])
        yield f"{name:44} {best[1]['median_ns'] / 1e3:9.1f} {told} {part}  {best[0]}{mark}"
    for g in goals.evaluate(rows, ceilings):
        word = {None: "not measured", True: "met", False: "NOT met"}[g["met"]]
        if journal.about.get("rehearsal"):
            word = "not measured"
        wanted = f">= {g['wanted']}x"
        wanted += f", >= {g['wanted_share']:.0%} of copy" if g["wanted_share"] else ""
        worst = f", worst {g['worst']:.2f}x at {g['where']}" if g["worst"] is not None else ""
        yield f"goal {g['about']} ({wanted}): {word}, {g['measured']}/{g['rows']} rows{worst}"


def _graph(r: dict[str, Any], mine: dict[str, Any]) -> str:
    """The same calls captured in CUDA graphs, where they were: torch's time over ours."""
    if "graph" in mine:
        return f"  (not captured: {mine['graph'][:120]})"
    theirs = r["entries"].get(r.get("torch", ""), {})
    if "graph_ns" not in mine or "graph_ns" not in theirs:
        return ""
    return (
        f"  (graph: {mine['graph_ns'] / 1e3:.1f} us, {theirs['graph_ns'] / mine['graph_ns']:.2f}x)"
    )


def _failure(r: dict[str, Any]) -> str:
    first = next(iter(r.get("failures", ())), None)
    if first is None:
        return f"{r['key']}: {r['status']}: {r.get('reason', '')[:200]}"
    return f"{r['key']}: {r['failed']}/{r['cases']}: {first['case']}: {first['reason'][:160]}"


def _reason(r: dict[str, Any]) -> str:
    for name, e in r.get("entries", {}).items():
        if e.get("status") in ("wrong", "error", "suspect") and not name.startswith("torch "):
            return f"{name}: {e.get('reason', '')[:120]}"
    return str(r.get("reason", ""))[:160]
