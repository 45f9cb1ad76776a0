"""docs/learn/questions.md and its Chinese twin: every question with its command and its answer.

``docs/readme.py`` calls ``page``; the entries are those of ``refconv.learn.questions``.
"""

from __future__ import annotations

import re

import refconv
from refconv.learn.questions import Question, questions

WRONG = {"en": "Often said, and wrong: ", "zh": "常见的错误答案："}
#: Headings, by the question that each begins with.
GROUPS = {
    1: {"en": "LeNet: sizes, filters, parameters", "zh": "LeNet：尺寸、卷积核、参数"},
    9: {"en": "NetD: the padding that a paper leaves out", "zh": "NetD：论文没写的 padding"},
    14: {
        "en": "The family: shapes, VALID, SAME, dilation",
        "zh": "整个家族：形状、VALID、SAME、dilation",
    },
    27: {"en": "Kernels, counted and multiplied", "zh": "卷积核：有几个，怎么算"},
    32: {"en": "MNIST: where 9216 comes from", "zh": "MNIST：9216 从哪里来"},
}


def prose(text: str) -> str:
    r"""Text as Markdown: stars and brackets outside code mean themselves.

    Example:
        >>> print(prose("[N]: 512*6*6, not `a_b`"))
        \[N\]: 512\*6\*6, not `a_b`
    """
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*\[\]])", r"\\\1", p) for p in parts)


def how(command: str) -> list[str]:
    """The command as code: for a shell, or as a Python session with its result.

    Example:
        >>> how("rc.out_size(7, 5, 3)")[2:4]
        ['>>> rc.out_size(7, 5, 3)', '1']
    """
    if command.startswith("refconv "):
        return ["```console", f"$ {command}", "```"]
    result = eval(command, {"rc": refconv})  # our own data
    return ["```pycon", ">>> import refconv as rc", f">>> {command}", repr(result), "```"]


def entry(question: Question, language: str) -> str:
    """One question: what is asked, the command, the answer, the wrong answers."""
    text = getattr(question, language)
    group = [f"## {GROUPS[question.id][language]}", ""] if question.id in GROUPS else []
    lines = [*group, f"### {question.id}. {prose(text.q)}", ""]
    lines += [*how(question.command), "", prose(text.a)]
    for wrong in question.wrong:
        said = getattr(wrong, language)
        lines += ["", f"{WRONG[language]}“{prose(said.a)}” {prose(said.why)}"]
    return "\n".join(lines)


def page(language: str) -> str:
    """All questions in one language."""
    return "\n\n".join(entry(question, language) for question in questions())
