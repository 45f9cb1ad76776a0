"""Every kind of record as one kind of row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

FAILED = ("wrong", "suspect", "error", "doubt", "crashed", "hung", "given up")
#: A status that is not a matter of results: the time decides nothing.
NOISE = "noise"


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One candidate on one layer.

    Args:
        line: of the record in its file.
        ns: median time of a call; ``busy``: of too few quiet rounds.
        ratio, low, high: over torch's time, and its 95 % interval.
        noise: the largest root mean square of error over expected rounding noise.
        bound: the largest error over its proven bound; None where infinite or not known.
        flops, moved: of the direct sum; bytes of all arrays once.
        repro: a command, or a script, that shows it again.
    """

    line: int = 0
    kind: str
    case: str
    label: str
    op: str
    way: str = "fprop"
    backend: str
    device: str = "cpu"
    dtype: str = ""
    accuracy: str = ""
    algorithm: str = ""
    status: str = "ok"
    ns: float | None = None
    busy: bool = False
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    noise: float | None = None
    bound: float | None = None
    error: float | None = None
    flops: int = 0
    moved: int = 0
    predicted: float | None = None
    reason: str = ""
    hint: str = ""
    repro: str = ""

    @property
    def layer(self) -> tuple[str, str, str, str]:
        """What it stands beside others of."""
        return (self.case, self.label, self.way, self.device)

    @property
    def name(self) -> str:
        """The layer, with its way where that is not the usual one."""
        return self.case if self.way == "fprop" else f"{self.case} {self.way}"

    @property
    def who(self) -> str:
        """Backend, algorithm and accuracy."""
        what = f"{self.backend}:{self.algorithm}" if self.algorithm else self.backend
        return f"{what} {self.accuracy}".strip()

    @property
    def failed(self) -> bool:
        """Whether its result is not right."""
        return self.status in FAILED


def noise(checks: Any) -> float | None:
    """The largest of the results' that is known."""
    found = None
    for c in checks:
        if c.noise is not None and (found is None or c.noise > found):
            found = c.noise
    return found


def of(r: Any, line: int) -> Row:
    """A record of compare or bench."""
    t, bench = r.timing, hasattr(r, "way")
    low, high = r.interval if bench and r.interval else (None, None)
    return Row(
        line=line,
        kind="bench" if bench else "compare",
        case=r.case,
        label=r.label,
        op=r.op,
        way=f"{r.way}{' cold' * r.cold}" if bench else "fprop",
        backend=r.backend,
        device="cpu" if bench else r.device,
        dtype=r.dtype,
        accuracy=r.accuracy if bench else "",
        algorithm=r.algorithm,
        status=r.status,
        ns=t.median_ns if t else None,
        busy=t.busy if t else False,
        ratio=t.vs_torch if t else None,
        low=low,
        high=high,
        noise=noise(r.checks),
        bound=max((c.ratio for c in r.checks if c.ratio is not None), default=None),
        error=max((c.max_error for c in r.checks if c.max_error is not None), default=None),
        flops=r.flops if bench else r.work * (2 if "conv" in r.op else 1),
        moved=r.moved if bench else 0,
        predicted=r.predicted if bench else None,
        reason=r.reason,
        hint=r.hint,
        repro=_command(r) if r.status in FAILED else "",
    )


def _command(r: Any) -> str:
    """The command that judges the same again."""
    import shlex

    what = r.label if r.op == "model" else shlex.quote(r.label)
    who = f"{r.backend}:{r.algorithm}" if r.algorithm and r.backend != "torch" else r.backend
    words = [f"refconv compare {what}", f"--backends {shlex.quote(who)}"]
    words += [f"--seed {r.seed}"] if r.seed else []
    words += ["--backward"] if any(c.result.startswith("grad_") for c in r.checks) else []
    return " ".join(words)


def of_outcome(o: Any, line: int, target: str, device: str) -> Row:
    """One call of a check; what a function refuses is not judged, as in the check's own report."""
    first = next((f for f in o.findings if f.level != "consistent"), None)
    return Row(
        line=line,
        kind="check",
        case=o.case,
        label=o.case,
        op=o.op,
        backend=target,
        device=device,
        dtype=o.dtype,
        status={"consistent": "ok", "refused": "skipped"}.get(o.status, o.status),
        noise=noise(o.findings),
        bound=max((f.ratio for f in o.findings if f.ratio is not None), default=None),
        reason=f"{first.result}: {first.reason}" if first else "",
        hint=o.why,
    )


def of_gpu(r: dict[str, Any], line: int) -> Iterator[Row]:
    """A verified step, or the entries of a timed row, of the GPU's journal."""
    kind, key = r.get("kind", ""), r["key"]
    shared: Any = {"line": line, "kind": "gpu", "device": str(r.get("gpu") or "cuda")}
    first = next(iter(r.get("failures") or ()), None)
    told = f"{first['case']}: {first['reason']}" if first else str(r.get("reason") or "")
    if kind == "time":
        layer = r.get("row", {})
        about: Any = {"case": str(layer.get("case", key)), "label": str(layer.get("text", key))}
        about |= {"op": about["label"].partition(" ")[0], "way": str(layer.get("way", "fprop"))}
        sizes: Any = {"flops": int(r.get("flops") or 0), "moved": int(r.get("moved") or 0)}
        for name, e in (r.get("entries") or {}).items():
            low, high = e.get("interval") or (None, None)
            who, _, layout = name.partition(" ")
            backend, _, algorithm = who.partition(":")
            yield Row(
                **about, **shared, **sizes,
                backend=backend, algorithm=f"{algorithm} {layout}".strip(),
                dtype=str(layer.get("precision", "")), status=str(e.get("status", "ok")),
                ns=e.get("median_ns"), ratio=1 / e["speedup"] if e.get("speedup") else None,
                low=1 / high if high else None, high=1 / low if low else None,
                noise=e.get("noise"), bound=e.get("worst"), reason=str(e.get("reason") or ""),
            )  # fmt: skip
    elif "status" in r:
        status = {"unsupported": "skipped", "errors": "error"}.get(r["status"], r["status"])
        yield Row(
            **shared, case=key, label=key, op=str(r.get("slot") or kind), way=kind,
            backend=str(r.get("backend") or "gpu"), algorithm=str(r.get("algorithm") or ""),
            dtype=str(r.get("dtype") or ""), status=status, bound=r.get("worst"), reason=told,
        )  # fmt: skip
