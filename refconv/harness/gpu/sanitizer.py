"""compute-sanitizer over every step on small problems: accesses outside of an array, and races.

Arrays are allocated one by one, since torch's pool hides what lies behind an array's end. Where
there is no such tool, or it refuses the device, that is what is written down.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from .workers import Worker, command

TOOLS = ("memcheck", "racecheck")
PLACES = ("/usr/local/cuda/bin/compute-sanitizer",)
#: Seconds of silence: kernels run many times slower.
PATIENCE = 90.0


def find() -> str | None:
    """Where the tool is, if it is there."""
    return shutil.which("compute-sanitizer") or next((p for p in PLACES if Path(p).is_file()), None)


def check(tool: str, items: list[dict[str, Any]], until: float) -> dict[str, Any]:
    """The record of one tool's run over verification items, each on few problems.

    Args:
        until: moment (``time.monotonic``) at which it ends.
    """
    found = {"kind": "sanitize", "key": f"sanitize/{tool}", "asked": len(items)}
    where = find()
    if where is None:
        return {**found, "status": "not found", "reason": "compute-sanitizer not found"}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        around = [where, "--tool", tool, "--log-file", str(log)]
        more = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        worker = Worker(command("cuda"), around=around, patience=PATIENCE, more=more)
        done = 0
        last: dict[str, Any] = {}
        for item in items:
            if time.monotonic() >= until:
                break
            last = worker.ask({**item, "small": True}, until)
            done += last["status"] in ("ok", "wrong", "unsupported")
            if last["status"] not in ("ok", "wrong", "unsupported"):
                break
        worker.finish()
        text = log.read_text(errors="replace") if log.is_file() else ""
    errors = sum(int(n) for n in re.findall(r"ERROR SUMMARY: (\d+) error", text))
    hazards = sum(int(n) for n in re.findall(r"RACECHECK SUMMARY: (\d+) hazard", text))
    status = "errors" if errors + hazards else "ok" if done == len(items) else "unfinished"
    reason = "" if status == "ok" else str(last.get("reason", ""))[:400]
    return {**found, "status": status, "done": done, "errors": errors, "hazards": hazards,
            "reason": reason, "log": text[-3000:] if status != "ok" else ""}  # fmt: skip
