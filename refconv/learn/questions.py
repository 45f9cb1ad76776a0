"""The questions that people ask about convolution, each with the one command that answers it.

``questions.json`` holds them: the terminal, the page's quiz, docs/learn/questions.md and the tests
read the same entries. A test runs every command and finds the answer's figures in what it prints.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question and its answer in one language."""

    q: str
    a: str


class Mistake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong answer in one language, and why it is wrong."""

    a: str
    why: str


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be chosen, in both languages."""

    en: str
    zh: str


class Wrong(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong answer that is given in public: the number ``value`` or the index ``choice``.

    Args:
        where: the page that gives it, where one is known.
    """

    en: Mistake
    zh: Mistake
    value: float | None = None
    choice: int | None = None
    where: str = ""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question.

    Args:
        source: the group of public questions that it comes from, Q1 to Q7.
        kind: how the quiz asks for it: ``number`` is typed, ``choice`` is one of ``choices``.
        answer: the number; of a choice its index, from 0.
        command: a line for the shell (``refconv …``), or an expression of ``import refconv as rc``.
    """

    id: int
    source: str
    kind: Literal["number", "choice"]
    answer: int
    command: str
    en: Text
    zh: Text
    choices: list[Choice] = []
    wrong: list[Wrong] = []


@cache
def questions() -> tuple[Question, ...]:
    """All of them, in order.

    Example:
        >>> len(questions()), questions()[0].answer
        (34, 400)
    """
    text = files(__package__).joinpath("questions.json").read_bytes()
    return tuple(msgspec.json.decode(text, type=list[Question]))
