"""The ``refconv`` command: one module a sub-command, imported only when it is called.

Exit codes: 0 all agree, 1 something differs, 2 the command line or a file cannot be understood, 3
what was asked for is not available here, 4 too noisy to tell, 130 interrupted. Results go to
stdout, everything else to stderr. An error is one line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from ..errors import RefconvError, UnavailableError

#: Sub-command → its line in ``refconv --help``; its function ``command`` is in the module of the
#: same name.
COMMANDS = {
    "compare": "Run cases on every backend against torch: shapes, values, gradients, times.",
    "bench": "Time layers against torch: interleaved, verified, with intervals.",
    "bench diff": "What changed between two recorded benchmarks, and whether chance could do it.",
    "pack make": "Write cases down with exact hashes and bounds, for any implementation.",
    "pack verify": "Verify an implementation, yours or ours, against such a pack.",
    "audit": "Check every convolution and pooling of a model's run, forward and backward.",
    "check": "Is this function right? Judged on many cases, explained, with a repro.",
    "explain": "A layer or a net: sizes with their arithmetic, parameters, receptive fields.",
    "trace": "Inside one output number: window, weights, products, sums; step by step.",
    "learn": "Write and open the page in which every number of a convolution can be looked into.",
    "mutate": "Try tolerances on faulty and on legal convolutions: what do they let pass?",
    "invariance": "Same bits from run to run, in any batch, layout, number of threads?",
    "doctor": "Why is it slow, different or missing? What works here, what does not, the fix.",
    "report": "Records as a page, a comment, JUnit or SARIF: speed, accuracy, what fails; trends.",
    "gpu": "Everything that only a GPU can say: judged, timed beside torch, in minutes.",
}
#: What ``refconv`` alone runs.
DEMO = ("compare", "classics:cs231n", "--backward", "--no-records")
#: Options whose value may be left out, and what it is then.
OPTIONAL = {"--json": "-", "--md": "-"}

OK, DIFFERS, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130
#: Noise hides what was asked for.
INCONCLUSIVE = 4


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the ``refconv`` script."""
    sys.exit(main(list(sys.argv[1:] if argv is None else argv)))


def main(argv: list[str]) -> int:
    """Run a command line; returns the exit code."""
    try:
        code = _call(argv or list(DEMO))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except UnavailableError as error:
        return _complain(str(error), UNAVAILABLE)
    except RefconvError as error:
        return _complain(str(error), USAGE)


def _call(argv: list[str]) -> int:
    if " ".join(argv[:2]) in COMMANDS:  # a command of two words
        argv = [" ".join(argv[:2]), *argv[2:]]
    application = app(argv[0] if argv else "")
    try:
        return application(_with_values(argv), prog_name="refconv", standalone_mode=False) or OK
    except Exception as error:
        if type(error).__name__ == "Abort":
            raise KeyboardInterrupt from None
        if not hasattr(error, "format_message"):  # typer's own usage errors have it
            raise
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "refconv"
        return _complain(f"{error.format_message()} ({path} --help says more)", USAGE)


def app(wanted: str) -> Any:
    """The typer application: the sub-command ``wanted`` in full, the others by name only."""
    import typer

    application = typer.Typer(
        name="refconv",
        help="Reference convolution: kernels to read, an oracle to trust, a benchmark to believe.",
        epilog="Example: refconv compare 'nn.Conv2d(6,16,5)' --in 1x6x14x14. "
        "Alone, refconv runs the cs231n example. Slow, different or missing? refconv doctor.",
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
        if version:
            from .. import __version__

            print(f"refconv {__version__}")
            raise typer.Exit

    application.callback(invoke_without_command=True)(root)
    for name, about in COMMANDS.items():
        if name == wanted:
            module = import_module(f"{__name__}.{name.replace(' ', '_')}")
            application.command(name, epilog=module.EPILOG)(module.command)
        else:
            application.command(name, help=about)(_elsewhere)
    return application


def _elsewhere() -> None:
    """A sub-command that was not asked for."""


def _with_values(argv: list[str]) -> list[str]:
    """Give options whose value was left out their usual one: ``--json`` alone is ``--json -``."""
    made: list[str] = []
    for i, word in enumerate(argv):
        made.append(word)
        following = argv[i + 1] if i + 1 < len(argv) else ""
        suffix = f".{word.removeprefix('--')}"
        if word in OPTIONAL and following != "-" and not following.endswith(suffix):
            made.append(OPTIONAL[word])
    return made


def _complain(text: str, code: int) -> int:
    line = " ".join(text.split())
    print(f"refconv: {line}", file=sys.stderr)
    return code
