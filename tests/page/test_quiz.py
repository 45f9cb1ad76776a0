"""Panel K asks each of the questions, judges what is answered, and tells why a mistake is one."""

import pytest

from refconv.learn.questions import questions

pytestmark = pytest.mark.browser

#: What the panel says to one answer after the other of one question: a number is typed, a choice
#: is pressed.
ASK = """([id, kind, given]) => {
    document.getElementById(`question-${id}`).click();
    const said = () => document.getElementById("quiz-answer")?.innerText ?? "";
    const before = [document.querySelector("#quiz .question").innerText, said()];
    const after = given.map((value) => {
        if (kind === "choice") document.getElementById(`quiz-choice-${value}`).click();
        else {
            document.getElementById("quiz-number").value = value;
            document.getElementById("quiz-check").click();
        }
        return said();
    });
    const choices = [...document.querySelectorAll("#quiz .choices button")];
    return [...before, choices.map((b) => b.innerText), after];
}"""
RIGHT, WRONG = {"en": "Right.", "zh": "正确。"}, {"en": "Not quite.", "zh": "不对。"}


def plain(text):
    """Text without the marks of code."""
    return text.replace("`", "")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_question(opened, lang):
    """Asked as it is written, nothing given away; right and wrong answers are judged, and told."""
    tab = opened(f"lang={lang}").tab
    for question in questions():
        said, choice = getattr(question, lang), question.kind == "choice"
        slips = [w.choice if choice else f"{w.value:g}" for w in question.wrong]
        other = (question.answer + 1) % len(question.choices) if choice else "123456"
        answers = [*slips, other, question.answer if choice else f"{question.answer:,}"]
        asked, early, choices, told = tab.evaluate(ASK, [question.id, question.kind, answers])
        assert plain(said.q) in asked
        assert early == "", question.id
        assert choices == [plain(getattr(c, lang)) for c in question.choices]
        for wrong, text in zip(question.wrong, told, strict=False):
            assert WRONG[lang] in text
            assert plain(getattr(wrong, lang).why) in text
        assert WRONG[lang] in told[-2]
        assert RIGHT[lang] in told[-1], question.id
        assert WRONG[lang] not in told[-1]
        assert plain(said.a) in told[-1]
        assert question.command in told[-1]
    score = tab.locator("#quiz .body").inner_text()
    assert {"en": "34 right of 34", "zh": "答对 34 题"}[lang] in score
