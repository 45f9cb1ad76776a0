"""Verify any implementation against a pack: NumPy and the standard library, nothing else. Copy me.

    python verify.py resnet50.jsonl mymodule  # functions of the names that torch has: conv2d, …

What stands in a pack and what it means: bench/packs/README.md.
"""

import importlib
import json
import sys
from hashlib import sha256
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
        z, kind, least = words(key, prod(array["shape"])), NUMPY[case["dtype"]], how["least"]
        if "step" in array:  # indices
            plane, at = np.divmod(np.arange(z.size), max(array["plane"], 1))
            values, kind = (at * array["step"] + plane) % array["size"], "i8"
        elif part == "whole":
            values = (z >> np.uint64(32)) % np.uint64(how["limit"] - least + 1) + float(least)
        else:
            share = (z >> np.uint64(64 - how["bits"])) / 2.0 ** how["bits"]
            values = share if least == 0 else 2 * share - 1
        made.append(values.astype(kind).reshape(array["shape"]))
    return [np.pad(made[0], case["pad"]), *made[1:]] if "pad" in case else made


def digest(y, power=1, times=1, rounded=False):
    """The hash of a whole part's output."""
    v = np.abs(y) ** power * times if power != 1 else y * times
    v = np.rint(v) if rounded or (power, times) != (1, 1) else v
    return sha256(np.ascontiguousarray(v + 0.0, "<f8").tobytes()).hexdigest()


def signed_sums(y, key, count):
    """The sums of the elements with signs."""
    z = words(key, y.size)
    sign = 1.0 - 2.0 * (z >> np.uint64(63))
    return np.bincount((z % np.uint64(count)).astype("i8"), sign * y.ravel(), minlength=count)


def judge(case, part, result, rounded=False):
    """Why a result is wrong; empty if it is right."""
    how, y, kind = case[part], np.asarray(result), np.dtype(NUMPY[case["dtype"]])
    if list(y.shape) != case["output"] or y.dtype != kind:
        return f"shape {list(y.shape)}, dtype {y.dtype}, must be {case['output']}, {kind}"
    y = y.astype("f8")
    whole = part == "whole" and (how["power"], how["times"])
    if whole and digest(y, *whole, rounded) == how["sha256"]:
        return ""
    name = lambda i: f"element {[int(a) for a in np.unravel_index(i, y.shape)]}"  # noqa: E731
    for i in np.flatnonzero(~np.isfinite(y))[:1]:
        return f"{name(i)} is {y.flat[i]}"
    seen = [(name(i), y.flat[i]) for i in how["at"]]
    wanted = list(zip(how["value"], how["within"], strict=True))
    if how.get("sums"):
        sums = signed_sums(y, how["key"], len(how["sums"]))
        seen += [(f"signed sum {i}", found) for i, found in enumerate(sums)]
        wanted += zip(how["sums"], how["sums_within"], strict=True)
    for (what, found), (value, within) in zip(seen, wanted, strict=True):
        if not abs(found - value) <= within:
            return f"{what} is {found:.9g}, must be {value:.9g} within {within:.3g}"
    if whole and digest(y, *whole, True) == how["sha256"]:
        return "equal only when rounded to whole numbers: no plain sum (--rounded accepts it)"
    return f"elements differ, though none of the {len(seen)} that are looked at" if whole else ""


def verify(case, function, rounded=False):
    """``right``, ``wrong`` or ``skipped`` (none, or NotImplementedError), and why."""
    if function is None:
        return "skipped", f"no {case['op']} there"
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in case["arguments"].items()}
    for part in ("whole", "real"):
        try:
            reason = judge(case, part, function(*arrays(case, part), **arguments), rounded)
        except NotImplementedError as error:
            return "skipped", str(error)
        except Exception as error:
            return "wrong", f"raised {type(error).__name__}: {error}"
        if reason:
            return "wrong", f"{part} numbers: {reason}"
    return "right", ""


def read(path):
    """The first line and the cases of a pack; a ValueError of one line if it is damaged or none."""
    with open(path, "rb") as file:
        first, rest = file.readline(), file.read()
    head = json.loads(first) if first.startswith(b'{"record": "pack"') else {}
    if head.get("schema") != "refconv.pack/1":
        raise ValueError(f"{path}: no pack: schema {head.get('schema')!r}, must be refconv.pack/1")
    lines = rest.splitlines()
    if sha256(rest).hexdigest() != head.get("sha256"):
        raise ValueError(f"{path}: damaged: {len(lines)} of {head.get('cases')} cases, other hash")
    return head, [json.loads(line) for line in lines]


def main(pack, module, *options):
    """Verify, print what is wrong, and return the exit code."""
    sys.path.insert(0, ".")
    functions = importlib.import_module(module)
    try:
        head, cases = read(pack)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    seen: dict[str, list[str]] = {"right": [], "wrong": [], "skipped": []}
    for case in cases:
        function = getattr(functions, case["op"], None)
        outcome, why = verify(case, function, "--rounded" in options)
        seen[outcome].append(f"  {case['name']}: {outcome}: {why}")
    print(f"{head['name']}: " + ", ".join(f"{len(seen[word])} {word}" for word in seen))
    print("\n".join(seen["wrong"] + seen["skipped"]))
    return 1 if seen["wrong"] else 0 if seen["right"] else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
