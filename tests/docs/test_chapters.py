"""The chapters of docs/learn: each opens one file, quotes lines that are there, and computes what
it says.
"""

import doctest
import re

import pytest

from tests.docs.pages import (
    CHINESE,
    DOCS,
    LEARN,
    ROOT,
    Quotation,
    blocks,
    chapters,
    front,
    quotations,
)

#: Reading order, and the file that each chapter opens.
ORDER = {
    "window": "refconv/window.py",
    "convolution": "kernels/naive/conv.py",
    "im2col": "kernels/im2col/conv.py",
    "transposed": "kernels/naive/conv.py",
    "pooling": "kernels/naive/pool.py",
    "gradients": "refconv/autograd.py",
    "winograd": "kernels/numba_cpu/winograd_matrices.py",
    "tile": "kernels/numba_cpu/tile.py",
    "cuda": "kernels/cuda/conv_1_direct.cu",
    "error": "refconv/oracle/bound.py",
    "benchmark": "refconv/harness/timing.py",
}
PAGES = [*chapters(), *chapters(CHINESE)]
NAMES = [str(p.relative_to(DOCS)) for p in PAGES]


@pytest.mark.parametrize("folder", [LEARN, CHINESE], ids=["en", "zh"])
def test_reading_order(folder):
    """Every chapter is there, opens its file, and the index lists them in this order."""
    assert {p.stem: front(p.read_text())["opens"] for p in chapters(folder)} == ORDER
    listed = re.search(r"```\{toctree\}\n(.*?)```", (folder / "index.md").read_text(), re.DOTALL)[1]
    assert [name for name in listed.split() if name in ORDER] == list(ORDER)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_opens_exactly_one_file(page):
    """The first paragraph names it, and no other file is quoted."""
    text = page.read_text()
    opened = front(text)["opens"]
    first = text.split("---\n", 2)[2].split("\n\n")[1]
    assert f"`{opened}`" in first
    assert (ROOT / opened).is_file()
    assert {q.path for q in quotations(page)} == {ROOT / opened}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_quotes_what_is_there(page):
    """Each quotation finds its object and its lines; none is longer than a reader's patience."""
    for quoted in quotations(page):
        assert set(quoted.options) & {"pyobject", "start-at"}, quoted
        assert 1 < len(quoted.lines()) <= 60, quoted


def test_a_quotation_of_nothing_is_noticed():
    """The check above can fail."""
    for options in (
        {"pyobject": "gone"},
        {"start-at": "gone"},
        {"pyobject": "g", "end-at": "gone"},
    ):
        with pytest.raises(AssertionError, match="gone"):
            Quotation(ROOT / "refconv" / "oracle" / "bound.py", options).lines()


def run(text):
    """Failed and tried examples of a page's sessions, which share their names."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    source = "\n".join(blocks(text, "pycon"))
    test = doctest.DocTestParser().get_doctest(source, {}, "page", "page", 0)
    return runner.run(test)


@pytest.mark.parametrize("page", chapters(), ids=[p.stem for p in chapters()])
def test_sessions_give_what_they_show(page):
    """Every number that a session prints is computed here."""
    failed, tried = run(page.read_text())
    assert not failed
    assert tried >= 5


def test_a_wrong_session_is_noticed(capsys):
    """The check above can fail."""
    assert run("```pycon\n>>> 1 + 1\n3\n```\n").failed == 1
    assert "Expected" in capsys.readouterr().out


@pytest.mark.parametrize("page", chapters(), ids=[p.stem for p in chapters()])
def test_has_exercises_with_answers(page):
    """Three at least, and as many answers."""
    text = page.read_text()
    asked, answered = re.search(
        r"## Exercises\n(.*?)<details>(.*?)</details>", text, re.DOTALL
    ).groups()
    count = len(re.findall(r"^\d\. ", asked, re.MULTILINE))
    assert count == len(re.findall(r"^\d\. ", answered, re.MULTILINE)) >= 3


@pytest.mark.parametrize(
    ("page", "sentence"),
    [(LEARN / "cuda.md", "No GPU has run"), (CHINESE / "cuda.md", "没有任何 GPU 运行过")],
    ids=["en", "zh"],
)
def test_says_whether_a_gpu_has_run(page, sentence):
    """The sentence goes when there are records: then the table below it says what was measured."""
    records = list((ROOT / "bench" / "history").glob("*/gpu.jsonl"))
    assert (sentence in page.read_text()) == (not records), f"{page}: is {sentence!r} still true?"
