"""``python docs/gallery``: run the notebooks and keep what they print.

The cells are run here, one after the other, without Jupyter: the site needs no kernel to be built,
and a test compares what is kept with what comes.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    """A notebook."""
    return json.loads(path.read_text())


def shown(value: Any, count: int) -> list[dict[str, Any]]:
    """What a notebook shows of a cell's last value."""
    if value is None:
        return []
    data = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_html_"):
        data["text/html"] = value._repr_html_().splitlines(keepends=True)
    return [
        {"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}
    ]


def outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Run one cell among ``names``; its outputs as Jupyter writes them."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    stream = {"name": "stdout", "output_type": "stream",
              "text": printed.getvalue().splitlines(keepends=True)}  # fmt: skip
    return [*([stream] if stream["text"] else []), *shown(value, count)]


def run(notebook: Notebook, skip: str = "") -> Notebook:
    """The same notebook with the outputs of a fresh run; cells tagged ``skip`` are left alone."""
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            if skip and skip in cell["metadata"].get("tags", ()):
                continue
            cell["outputs"] = outputs("".join(cell["source"]), names, count)
            cell["execution_count"] = count
    return notebook


def main() -> int:
    """Run all notebooks, and write them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        made = json.dumps(run(read(path)), indent=1, ensure_ascii=False) + "\n"
        path.write_text(made)
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
