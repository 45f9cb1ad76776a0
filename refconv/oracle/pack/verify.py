"""Verify any implementation against a pack: NumPy and the standard library, nothing else. Copy me.

    python verify.py resnet50.jsonl mymodule             # functions named like torch's: conv2d, …
    python verify.py resnet50.jsonl mymodule:myconv conv2d

A pack (refconv.pack/1) is JSON Lines. Line 1 has the schema, the number of ``cases`` and the
``sha256`` of all bytes behind it. Every other line is a case: an ``op`` of torch.nn.functional, its
``arrays`` in torch's order, its ``arguments``, zeros to ``pad`` around the input before the call.

Numbers: word ``i`` of a ``key`` is the i-th output of SplitMix64 seeded with it, 64 bits. ``whole``
arrays: ``least + (word >> 32) mod (limit - least + 1)``. ``real`` arrays: the highest ``bits`` bits
``b`` of the word as ``b / 2^(bits-1) - 1`` (where least is 0: ``b / 2^bits``). Indices: ``(position
in the plane * step + plane) mod size``. bfloat16 is float32 here: every number fits both.

Whole: all sums are exact in any order, so the output's sha256 (little-endian float64, C order, +0)
must be equal. Where a division or root rounds, ``|y|^power * times`` is rounded to whole numbers
before. Real: elements ``at`` these positions, and ``sums`` with signs (highest bit set: -) over
the elements whose word mod the number of sums is the same, must be ``within`` the proven bounds.
"""

import hashlib
import importlib
import json
import sys
from math import prod

import numpy as np

NUMPY = {"float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "f4"}


def words(key, n):
    """The first ``n`` outputs of SplitMix64 seeded with ``key``."""
    z = np.uint64(key) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def arrays(case, part):
    """The arrays of a case's part, ``whole`` or ``real``."""
    made, how = [], case[part]
    for array, key in zip(case["arrays"], how["keys"], strict=True):
        n, least = prod(array["shape"]), how["least"]
        if "step" in array:
            plane, at = np.divmod(np.arange(n), max(array["plane"], 1))
            values, kind = (at * array["step"] + plane) % array["size"], "i8"
        elif part == "whole":
            span = np.uint64(how["limit"] - least + 1)
            values, kind = (words(key, n) >> np.uint64(32)) % span, NUMPY[case["dtype"]]
            values = values.astype("i8") + least
        else:
            bits, kind = how["bits"], NUMPY[case["dtype"]]
            top = (words(key, n) >> np.uint64(64 - bits)).astype("f8")
            values = top / 2.0**bits if least == 0 else top / 2.0 ** (bits - 1) - 1
        made.append(values.astype(kind).reshape(array["shape"]))
    if case.get("pad"):
        made[0] = np.pad(made[0], case["pad"])
    return made


def digest(y, power=1, times=1, rounded=False):
    """The hash of a whole part's output."""
    v = np.abs(y) ** power * times if power != 1 else y * times
    v = np.rint(v) if rounded or (power, times) != (1, 1) else v
    return hashlib.sha256(np.ascontiguousarray(v + 0.0, "<f8").tobytes()).hexdigest()


def signed_sums(y, key, count):
    """The sums of the elements with signs."""
    z = words(key, y.size)
    sign = 1.0 - 2.0 * (z >> np.uint64(63)).astype("f8")
    return np.bincount((z % np.uint64(count)).astype("i8"), sign * y.ravel(), minlength=count)


def judge(case, part, result, rounded=False):
    """Why a result is wrong; empty if it is right."""
    how, y = case[part], np.asarray(result)
    if list(y.shape) != case["output"]:
        return f"shape {list(y.shape)}, must be {case['output']}"
    if y.dtype != np.dtype(NUMPY[case["dtype"]]):
        return f"dtype {y.dtype}, must be {case['dtype']}"
    y = y.astype("f8")
    if not np.isfinite(y).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(y))[0]]
        return f"element {at} is {y[tuple(at)]}"
    right = part == "real" or digest(y, how["power"], how["times"], rounded) == how["sha256"]
    if not right or part == "real":
        for i, value, within in zip(how["at"], how["value"], how["within"], strict=True):
            if not abs(y.flat[i] - value) <= within:
                at = [int(a) for a in np.unravel_index(i, y.shape)]
                return f"element {at} is {y.flat[i]:.9g}, must be {value:.9g} within {within:.3g}"
    if not right and digest(y, how["power"], how["times"], True) == how["sha256"]:
        return "equal only when rounded to whole numbers: no plain sum (--rounded accepts it)"
    if not right:
        return f"elements differ, though none of the {len(how['at'])} that are looked at"
    if part == "real" and how["sums"]:
        found = signed_sums(y, how["key"], len(how["sums"]))
        for i, (value, within) in enumerate(zip(how["sums"], how["sums_within"], strict=True)):
            if not abs(found[i] - value) <= within:
                return f"signed sum {i} is {found[i]:.9g}, must be {value:.9g} within {within:.3g}"
    return ""


def verify(case, function, rounded=False):
    """``right``, ``wrong`` or ``skipped`` (NotImplementedError), and why."""
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in case["arguments"].items()}
    for part in ("whole", "real"):
        try:
            result = function(*arrays(case, part), **arguments)
        except NotImplementedError as error:
            return "skipped", str(error)
        except Exception as error:
            return "wrong", f"raised {type(error).__name__}: {error}"
        if reason := judge(case, part, result, rounded):
            return "wrong", f"{part} numbers: {reason}"
    return "right", ""


def read(path):
    """The first line and the cases of a pack.

    Raises ValueError, of one line, where it is damaged or no pack.
    """
    with open(path, "rb") as file:
        first, rest = file.readline(), file.read()
    try:
        head = json.loads(first)
        schema = head["schema"]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path}: no pack: line 1 has no schema") from None
    if schema != "refconv.pack/1":
        raise ValueError(f"{path}: schema {schema!r}, must be refconv.pack/1")
    if hashlib.sha256(rest).hexdigest() != head.get("sha256"):
        lines = rest.count(b"\n")
        raise ValueError(f"{path}: damaged: {lines} of {head.get('cases')} cases, other sha256")
    return head, [json.loads(line) for line in rest.splitlines()]


def main(pack, target, op=None, *options):
    """Verify, print what is wrong, and return the exit code."""
    sys.path.insert(0, ".")
    name, _, function = target.partition(":")
    module = importlib.import_module(name)
    try:
        head, cases = read(pack)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    seen: dict[str, list[str]] = {"right": [], "wrong": [], "skipped": []}
    for case in cases:
        wanted = function if function and case["op"] == (op or function) else case["op"]
        there = hasattr(module, wanted) and (not function or wanted == function)
        outcome, why = ("skipped", f"{target} has no {case['op']}") if not there else verify(
            case, getattr(module, wanted), "--rounded" in options
        )  # fmt: skip
        seen[outcome].append(f"  {case['name']}: {outcome}: {why}")
    print(f"{head['name']}: " + ", ".join(f"{len(seen[word])} {word}" for word in seen))
    print("\n".join(seen["wrong"] + seen["skipped"]))
    return 1 if seen["wrong"] else 0 if seen["right"] else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
