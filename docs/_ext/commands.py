"""The directive ``commands``: every sub-command of refconv, from its own help."""

from __future__ import annotations

from typing import Any

import typer
from sphinx.util.docutils import SphinxDirective

from refconv import cli


def cell(text: str) -> str:
    r"""Text that fits in a cell of a Markdown table.

    Example:
        >>> print(cell("a|b <c>"))
        a\|b \<c>
    """
    for mark in "|<*_[":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


def options(command: Any) -> list[str]:
    """A table of a command's arguments and options."""
    rows = ["| | default | |", "|---|---|---|"]
    for p in command.params:
        value = f" {p.metavar}" if p.metavar else ""
        names = ", ".join(f"`{name}{value}`" for name in (*p.opts, *p.secondary_opts))
        if p.param_type_name == "argument":
            names = f"`{p.metavar or p.human_readable_name.upper()}`"
        default = p.default if isinstance(p.default, str | int | float) else ""
        shown = "" if isinstance(default, bool) or default == "" else f"`{default}`"
        rows.append(f"| {names} | {shown} | {cell(p.help or '')} |")
    return rows


def section(name: str) -> list[str]:
    """A sub-command: what it does, its options, its example."""
    group = typer.main.get_command(cli.app(name))
    command = group.commands[name]  # type: ignore[attr-defined]
    lines = [f"## `refconv {name}`", "", " ".join((command.help or "").split()), ""]
    return [*lines, *options(command), "", cell(command.epilog or ""), ""]


class Commands(SphinxDirective):
    """All sub-commands, in the order of ``refconv --help``."""

    def run(self) -> list[Any]:
        """The sections' nodes."""
        text = "\n".join(line for name in cli.COMMANDS for line in section(name))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
