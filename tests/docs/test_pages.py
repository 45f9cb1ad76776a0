"""All pages: links lead somewhere, and commands that are shown exist, with their options."""

import re
import shlex
from functools import cache

import pytest
import typer

from refconv import cli
from tests.docs.pages import DOCS, FENCE, ROOT, blocks

PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "README.zh.md"]
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    """Relative links and pictures are files that exist."""
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target


def commands(text):
    """Command lines of refconv in a page: in blocks, and in the text between backticks."""
    lines = [line for m in FENCE.finditer(text) if m[2] in ("", "console", "bash", "sh")
             for line in m[3].splitlines()]  # fmt: skip
    lines += re.findall(r"`(refconv [^`]+)`", FENCE.sub("", text))
    for line in lines:
        for part in line.strip().removeprefix("$ ").split("&&"):
            words = part.partition("  #")[0].strip()
            if words.startswith("refconv "):
                yield words


@cache
def options(name):
    """What a sub-command takes."""
    command = typer.main.get_command(cli.app(name)).commands[name]
    return {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}


def wrong(line):
    """What is not there of a command line: its sub-command or options."""
    words = shlex.split(line)[1:]
    two = " ".join(words[:2])
    name = two if two in cli.COMMANDS else words[0]
    if name == "--version" or name.endswith(","):  # a list of commands, in prose
        return []
    if name not in cli.COMMANDS:
        return [name]
    return [w for w in words if re.match(r"--\w", w) and w.partition("=")[0] not in options(name)]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist(page):
    """Sub-commands and options are those that the command line has."""
    for line in commands(page.read_text()):
        assert not wrong(line), line


def test_what_does_not_exist_is_noticed():
    """The checks above can fail."""
    page = (
        "```\n$ refconv expain x\nrefconv trace cs231n --ta 0\n```\n`refconv bench diff A B --fail`"
    )
    assert [wrong(line) for line in commands(page)] == [["expain"], ["--ta"], ["--fail"]]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_is_python(page):
    """What is shown as Python can be read as it."""
    for block in blocks(page.read_text(), "python"):
        compile(block, str(page), "exec")


def test_python_of_the_readme_runs(capsys):
    """From the first line to the last; the Chinese one has the same lines."""
    english, chinese = (blocks((ROOT / name).read_text(), "python") for name in NAMES[-2:])
    names = {}
    for block in english:
        exec(compile(block, "README.md", "exec"), names)
    assert names["y"].shape == (1, 6, 28, 28)
    assert names["w"].grad.shape == names["w"].shape
    assert "numba:" in capsys.readouterr().out
    plain = [[re.sub(r"  # .*", "", line) for b in page for line in b.splitlines()
              if not line.startswith("#")] for page in (english, chinese)]  # fmt: skip
    assert set(plain[1]) <= set(plain[0])
