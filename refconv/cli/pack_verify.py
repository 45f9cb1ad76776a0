"""``refconv pack verify``: an implementation against packs."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .options import Json

EPILOG = "Example: refconv pack verify edge numba, or refconv pack verify mine.jsonl my.py:conv2d"


def command(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="A file, or one of ours: resnet50.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="FUNCTION",
            help="torch, a backend (numba:direct), module:function or file.py:function.",
        ),
    ] = "torch",
    op: Annotated[
        str | None,
        typer.Option("--op", metavar="OP", help="Of a function of your own; else its name."),
    ] = None,
    rounded: Annotated[
        bool,
        typer.Option("--rounded", help="Round to whole numbers first (Winograd, FFT)."),
    ] = False,
    json: Json = None,
) -> int:
    """Verify an implementation against a pack: exact hashes on whole numbers, bounds on reals."""
    from ..oracle import pack as shelf
    from ..oracle.pack import verify
    from . import terminal

    path = shelf.find(pack)
    try:
        head, cases = verify.read(path)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from None
    sys.path.insert(0, os.getcwd())
    wanted = _op(target, op, {case["op"] for case in cases})
    rows: list[tuple[str, str, str]] = []
    with terminal.progress(len(cases)) as step:
        for case in cases:
            step(case["name"])
            if wanted and case["op"] != wanted:
                rows.append((case["name"], "skipped", f"it is {case['op']}"))
            else:
                function = _function(target, case)
                rows.append((case["name"], *verify.verify(case, function, rounded)))
    return _show(head["name"], target, rows, json)


def _op(target: str, op: str | None, known: set[str]) -> str:
    """The only op that a user's function has; empty for torch and our backends, which have all.

    Raises:
        UsageError: it cannot be told, or the pack has no such op.
    """
    from ..backends import registry
    from ..notation import near

    if op is None and (target == "torch" or target.partition(":")[0] in registry()):
        return ""
    found = op or target.rpartition(":")[2].rpartition(".")[2]
    if found not in known:
        some = sorted(known)
        listed = ", ".join(some if len(some) < 6 else [*some[:5], "…"])
        hint = near(found, known) if op else near(target, ("torch", *registry()))
        raise UsageError(
            f"{op or target}: which op is this{hint or '?'} Say --op, of this pack's {listed}; "
            "or torch, or a backend of ours"
        )
    return found


def _function(target: str, case: dict[str, Any]) -> Any:
    from ..oracle.pack import targets

    return targets.function(target, case["op"], case["dtype"])


def _show(name: str, target: str, rows: list[tuple[str, str, str]], json: str | None) -> int:
    """The verdict, then every case that is not right; returns the exit code."""
    count = {word: sum(row[1] == word for row in rows) for word in ("right", "wrong", "skipped")}
    code = 1 if count["wrong"] else 0 if count["right"] else 3
    mark = "✘" if code else "✔"
    total = f"{count['right']} of {len(rows)} cases right"
    more = "".join(f"; {count[word]} {word}" for word in ("wrong", "skipped") if count[word])
    headline = f"{mark} {target} on {name}: {total}{more}"
    if json is not None:
        _json(json, headline, code, rows)
    if json != "-":
        from . import terminal

        out = terminal.console()
        style = "bold red" if count["wrong"] else "bold yellow" if code else "bold green"
        terminal.line(out, headline, style)
        skipped: dict[str, list[str]] = {}
        for case, outcome, why in rows:
            if outcome == "wrong":
                terminal.line(out, f"  {case}: wrong: {why}")
            elif outcome == "skipped":
                skipped.setdefault("other ops" if why.startswith("it is ") else why, []).append(
                    case
                )
        for why, names in skipped.items():
            which = names[0] if len(names) == 1 else f"{len(names)} cases"
            terminal.line(out, f"  {which}: skipped: {why}")
        terminal.flush()
    return code


def _json(where: str, headline: str, code: int, rows: list[tuple[str, str, str]]) -> None:
    import json as library
    from pathlib import Path

    made = {
        "schema": "refconv.pack-verdict/1",
        "verdict": headline,
        "exit_code": code,
        "cases": [{"case": n, "outcome": outcome, "reason": why} for n, outcome, why in rows],
    }
    text = library.dumps(made, indent=1, ensure_ascii=False)
    if where == "-":
        print(text)
        return
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{where} cannot be written: {error.strerror}") from None
