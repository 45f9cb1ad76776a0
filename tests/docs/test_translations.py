"""The Chinese chapters are of the English ones as they are now.

A translation says in its front matter of which text it is: ``of`` is a digest of the English page
without what is generated in it. Whoever changes the English changes the Chinese, then the digest,
which a failing test prints.
"""

import hashlib
import re

import pytest

from tests.docs.pages import CHINESE, DOCS, FENCE, LEARN, chapters, front

GENERATED = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)
PAGES = chapters(CHINESE)


def written(text):
    """A page without what is generated in it."""
    return GENERATED.sub(r"\1\3", text)


def digest(text):
    """Twelve hexadecimal digits of what an author wrote."""
    return hashlib.sha256(written(text).encode()).hexdigest()[:12]


def fences(text):
    """A page's fenced blocks, with paths as they are from docs/learn."""
    return [m[0].replace("../../../", "../../") for m in FENCE.finditer(written(text))]


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_is_of_the_english_of_today(page):
    """If this fails, read what changed in the English page, and translate it."""
    about = front(page.read_text())
    english = DOCS / about["translates"]
    assert english == LEARN / page.name
    assert about["of"] == digest(english.read_text())


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_has_the_same_code_and_pictures(page):
    """Sessions and quotations are the English page's, so what runs there holds here."""
    chinese, english = page.read_text(), (LEARN / page.name).read_text()
    assert fences(chinese) == fences(english) != []
    pictures = [re.findall(r"images/learn/\w+\.svg", text) for text in (chinese, english)]
    assert pictures[0] == pictures[1]
    headings = [re.findall(r"^#+ ", text, re.MULTILINE) for text in (chinese, english)]
    assert headings[0] == headings[1]


def test_every_chapter_is_translated():
    """The same names in both folders."""
    assert [p.name for p in PAGES] == [p.name for p in chapters()]


def test_a_change_of_the_english_is_noticed():
    """The check can fail; a change of what is generated does not count."""
    text = "# A\n\n<!-- begin x -->\n1\n<!-- end x -->\n"
    assert digest(text) == digest(text.replace("1", "2")) != digest(text.replace("A", "B"))
