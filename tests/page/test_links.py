"""Links, languages and saved pictures: what outlives a look at the page."""

import re

import pytest

from refconv.learn.page import build

from .using import SHAPES, press, summary, text

pytestmark = pytest.mark.browser

LINKS = [
    "preset=netd&layer=4&at=0.9.3.40&step=77&view=loops&gpu=shared&code=numpy",
    "preset=cs231n&op=transposed&kernel=3,2&extra=1,0&bias=0&at=0.1.4.3&view=scatter",
    "preset=lenet&layer=5&cell=3.4&term=kernel&wanted=7&symbols=1",
    "preset=cs231n&step=5&flip=1&edit_x=0.0.0.0:5;0.1.1.1:-2.5&select=x.0.1.1&lang=zh&theme=dark",
]


@pytest.mark.parametrize("link", LINKS)
def test_permalinks(page, link):
    """What a link says is shown, and is written into the address again."""
    tab = page.open(link)
    written = dict(pair.split("=") for pair in tab.evaluate("location.hash.slice(1)").split("&"))
    assert written == dict(pair.split("=") for pair in link.split("&"))
    first = tab.evaluate("document.querySelector('#panels').innerText")
    page.reload()
    assert tab.evaluate("document.querySelector('#panels').innerText") == first


def test_nonsense_in_a_link(page):
    """A link that makes no sense opens the demo, or is refused in words."""
    tab = page.open("preset=nothing&layer=77&view=x&code=1&op=rm&edit_x=a:b&cell=q&select=zz")
    assert summary(tab) == SHAPES["cs231n"]
    page.open("preset=cs231n&h=abc")
    assert tab.locator(".refusal").count() == 1


def test_languages(page):
    """中文 leaves no English sentence behind, in any panel; and back."""
    tab = page.open("preset=cs231n&step=4&code=loops")
    press(tab, "#language")
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans"
    english = [t for k, t in build.strings("en").items()
               if "{" not in t and len(t) > 6 and t not in build.strings("zh")[k]]  # fmt: skip
    shown = tab.evaluate(
        """() => { const copy = document.body.cloneNode(true), left = '[lang=en], script, noscript';
        copy.querySelectorAll(`${left}, code`).forEach((node) => node.remove());
        return copy.textContent; }"""
    )
    assert [sentence for sentence in english if sentence in shown] == []
    assert re.findall(r"[A-Za-z]{2,}(?: [a-z]{2,}){2,}", shown) == []
    press(tab, "#language")
    assert text(tab, "h1") == "Every number of a convolution"


def test_svg_export(page):
    """The saved picture is SVG that stands alone: styles written in, the numbers there."""
    import xml.etree.ElementTree as ET

    tab = page.open("")
    for panel in ("input", "output", "matmul", "groups", "net", "threads"):
        root = ET.fromstring(tab.evaluate(f"refconv.asSvg('{panel}')"))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "class=" not in ET.tostring(root, encoding="unicode")
    drawn = [e.text for e in ET.fromstring(tab.evaluate("refconv.asSvg('output')")).iter()
             if e.tag.endswith("text")]  # fmt: skip
    assert drawn.count("10") == 2
    with tab.expect_download() as caught:
        press(tab, "#export-output")
    assert caught.value.suggested_filename == "refconv-output.svg"
