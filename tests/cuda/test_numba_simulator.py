"""The CUDA kernels in Python on Numba's simulator, in processes of its own (simulated.py).

Each thread is one of Python, so problems are tiny. What the simulator cannot see: races, and
barriers that not every thread reaches; the C++ steps of the same name are watched for those by the
emulator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from refconv import backends

ROOT = Path(__file__).resolve().parents[2]
EACH = [f"{s} {a.name}" for s, steps in backends.get("numba-cuda").slots.items() for a in steps]


def simulate(*arguments: str, given: str = "") -> str:
    """What the program prints.

    Raises:
        AssertionError: it failed; the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.cuda.simulated", *arguments],
        input=given, capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_results_are_right() -> None:
    """Of every step, in one process: to start one takes as long as two steps."""
    calls = json.loads(simulate())
    assert list(calls) == EACH
    assert min(calls.values()) > 9, calls


PADDED = "conv2d x[1,2,5,7] w[3,2,3,3] b p1"
STRIDED = "conv2d x[1,2,5,4] w[2,2,4,4] s2 p1"
GROUPED = "conv2d x[1,4,3,3] w[4,2,2,2] g2"
MAX, AVG = "max_pool2d x[1,1,6,7] k3 s2 p1", "avg_pool2d x[1,1,7,7] k3 s2 p1"

#: slot and algorithm, file, problem, what is there, what is written instead
BUGS = [
    ("conv_fprop direct", "conv_1_direct.py", PADDED, "range(kw0, kw1)", "range(kw0, kw1 - 1)"),
    ("conv_fprop direct", "conv_1_direct.py", PADDED, "range(kh0, kh1)", "range(kh0, kh1 + 1)"),
    ("conv_fprop direct", "conv_1_direct.py", PADDED, "at >= positions", "at > positions"),
    ("conv_fprop direct", "conv_1_direct.py", PADDED, "if b.size > 0", "if b.size < 0"),
    ("conv_fprop direct", "geometry.py", PADDED, "min((size - 1", "min((size - 2"),
    ("conv_fprop direct", "conv_1_direct.py", GROUPED, "first + ic", "ic"),
    ("conv_fprop shared", "conv_2_shared.py", PADDED, "(KW - 1) * dilation[2] + 1", "(KW - 1)"),
    ("conv_fprop shared", "conv_2_shared.py", PADDED, "top + r < IH", "top + r < IH - 1"),
    ("conv_fprop shared", "conv_2_shared.py", GROUPED, "if j < count:", "if True:"),
    ("conv_fprop shared", "conv_2_shared.py", GROUPED, "group * CG + ic", "ic"),
    ("conv_dgrad direct", "dgrad_1_direct.py", STRIDED, "% stride == 0", "% stride >= 0"),
    ("conv_dgrad direct", "dgrad_1_direct.py", STRIDED, "0 <= ow < OW", "0 < ow < OW"),
    ("conv_dgrad direct", "dgrad_1_direct.py", STRIDED, "ow -= back[2]", "ow -= 2"),
    ("conv_wgrad direct", "reduce.py", PADDED, "while half > 0", "while half > 1"),
    ("conv_wgrad direct", "wgrad_1_direct.py", PADDED, "0 <= ih < IH", "-1 <= ih < IH"),
    ("conv_bgrad direct", "bgrad_1_direct.py", PADDED, "store(sum)", "store(sum + sum)"),
    ("max_pool windows", "pool_1_windows.py", MAX, "value > best", "value >= best"),
    ("max_pool windows", "pool_1_windows.py", MAX, "if n >= N:", "if n > N:"),
    ("max_pool_values windows", "pool.py", MAX, "* dilation + 1, IN)", "* dilation, IN)"),
    ("avg_pool windows", "pool.py", AVG, "axis[0] + axis[4]) - first", "axis[0]) - first"),
    ("avg_pool_backward windows", "pool.py", AVG, "behind // stride + 1", "behind // stride"),
]  # fmt: skip


def as_given(bug: tuple[str, str, str, str, str]) -> dict[str, str]:
    """The bug as simulated.py takes it."""
    (slot, name), file, case, old, new = bug[0].split(), *bug[1:]
    return {
        "slot": slot, "name": name, "file": file, "case": case, "old": old, "new": new,
        "dtype": "float32", "kind": "integer",
    }  # fmt: skip


def test_planted_bugs_are_found() -> None:
    rounding = ("conv_fprop direct", "elements.py", "conv2d x[1,2,5,7] w[3,2,3,3] p1",
                "(u + np.uint32(0x7FFF) + odd)", "u")  # fmt: skip
    bugs = [as_given(b) for b in BUGS]
    bugs.append(as_given(rounding) | {"dtype": "bfloat16", "kind": "real"})
    said = json.loads(simulate("--bugs", given=json.dumps(bugs)))
    for bug, words in zip(bugs, said, strict=True):
        assert "wrong" in words or "IndexError" in words or "GuardError" in words, (bug, words)
