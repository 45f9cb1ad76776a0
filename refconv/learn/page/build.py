"""Put the page together: one HTML file with script, style and words inline, and a policy that lets
it load nothing else.

The modules are ES modules in one scope: imports are dropped, ``export`` is taken off, each file
comes after those it imports. A name at the top of two files is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

LANGUAGES = ("en", "zh")
FIRST = "js/start.js"
#: The module that the build writes itself.
GIVEN = "js/given.js"
IMPORT = re.compile(r'^import\s+(?:[^;]*?\s+from\s+)?"([^"]+)";\n', re.MULTILINE)
AGAIN = re.compile(r"^export \{[^}]*\};\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=async |function|const|let|class)", re.MULTILINE)
TOP = re.compile(r"^(?:async )?(?:function|const|let|class) (?:\{([^}]*)\}|(\w+))", re.MULTILINE)


def page(start: str = "") -> str:
    """The page's HTML.

    Args:
        start: what is shown where the address says nothing: ``preset=lenet&lang=zh``.
    """
    script = bundle({"START": start})
    style = read("page.css")
    policy = (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    html = read("page.html")
    for name, text in {"policy": policy, "style": style, "script": script}.items():
        html = html.replace(f"{{{{{name}}}}}", text)
    return html


def bundle(given: dict[str, Any]) -> str:
    """Every module that ``js/start.js`` needs, as one script."""
    seen: dict[str, str] = {}
    _visit(FIRST, seen, given)
    names: dict[str, str] = {}
    for path, text in seen.items():
        for found in TOP.finditer(text):
            for name in re.findall(r"\w+", found[1] or found[2]):
                if name in names:
                    raise ValueError(f"{path} and {names[name]} both have {name} at the top")
                names[name] = path
    body = "\n".join(seen.values())
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _visit(path: str, seen: dict[str, str], given: dict[str, Any]) -> None:
    text = _given(given) if path == GIVEN else read(path)
    for target in IMPORT.findall(text):
        wanted = resolved(path, target)
        if wanted not in seen:
            _visit(wanted, seen, given)
    seen[path] = EXPORT.sub("", AGAIN.sub("", IMPORT.sub("", text)))


def resolved(path: str, target: str) -> str:
    """``js/panels/a.js`` and ``../dom.js`` → ``js/dom.js``."""
    parts: list[str] = list(PurePosixPath(path).parent.parts)
    for part in target.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _given(given: dict[str, Any]) -> str:
    """What the script is given as data: words, presets, questions, and where to start."""
    every = {
        "STRINGS": {lang: strings(lang) for lang in LANGUAGES},
        "PRESETS": presets(),
        "QUESTIONS": json.loads(read("questions.json", "refconv.learn")),
        "ASKED": json.loads(read("quiz.json")),
        **given,
    }
    return "".join(f"export const {name} = {literal(value)};\n" for name, value in every.items())


def presets() -> dict[str, Any]:
    """The nets that one can start from, by name: shape of the input and layers."""
    return json.loads(read("presets.json"))


def strings(lang: str) -> dict[str, str]:
    """The page's words in a language: ``en`` or ``zh``."""
    return json.loads(read(f"strings.{lang}.json"))


def literal(value: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("</", "<\\/").replace("<!--", "<\\u0021--")


def digest(text: str) -> str:
    """The hash by which a policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def read(name: str, package: str = "refconv.learn.page") -> str:
    """A file of this package, or of another."""
    return resources.files(package).joinpath(*name.split("/")).read_text(encoding="utf-8")
