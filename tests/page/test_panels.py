"""The page as it is used: every preset and control, keys, links, both languages."""

import json
import re

import pytest

from refconv.learn.page import build

pytestmark = pytest.mark.browser

PRESETS = list(build.presets())
SHAPES = {
    "cs231n": ("1×3×5×5", "1×2×3×3", "56"),
    "lenet": ("1×3×32×32", "1×6×28×28", "456"),
    "mnist": ("1×1×28×28", "1×32×26×26", "320"),
    "netd": ("1×3×96×96", "1×64×96×96", "1,728"),
    "discriminator": ("1×1×28×28", "1×64×14×14", "1,088"),
}


def text(tab, selector):
    """What an element says."""
    return tab.locator(selector).inner_text()


def numbers(tab, selector):
    """The numbers of a map, row after row."""
    found = tab.locator(f"{selector} .number").all_text_contents()
    return [float(value.replace("−", "-")) for value in found]


def summary(tab):
    """Input, output, parameters as panel A has them."""
    values = tab.locator(".summary dd").all_text_contents()
    return values[0], values[1], values[3] if len(values) > 3 else ""


@pytest.mark.parametrize("name", PRESETS)
def test_presets(page, name):
    """Chosen by a click; shapes and parameters stand in panel A; every panel is filled."""
    tab = page.open("")
    tab.locator(f"nav [data-key={name}]").click()
    assert summary(tab) == SHAPES[name]
    for panel in ("input", "filters", "output", "arithmetic", "formula", "matmul", "groups", "net",
                  "threads", "code", "quiz"):  # fmt: skip
        assert tab.locator(f"#{panel} .body > *").count() > 0, panel
    assert tab.locator("#net .strip li").count() == len(build.presets()[name]["layers"])
    assert tab.evaluate("document.querySelectorAll('svg.grid .cell').length") < 2500


def test_cs231n_is_golden(page, golden):
    """Both output maps, and the pinned number in the panels that show it."""
    tab = page.open("preset=cs231n")
    for k in range(2):
        assert numbers(tab, f"#output-{k}") == [v for row in golden["output"][k] for v in row]
    assert text(tab, "#value") == "7"
    assert text(tab, "#totals") == "4 + 1 + 1 + b 1 = 7"
    assert "would be 4" in text(tab, "#arithmetic .hint")
    tab.locator("#flip").check()
    assert text(tab, "#value") == "4"


@pytest.fixture(scope="module")
def golden():
    """The numbers of tests/golden."""
    from pathlib import Path

    return json.loads((Path(__file__).parents[1] / "golden" / "cs231n.json").read_text())


CONTROLS = {
    "n": ("2", "1×2×3×3", "2×2×3×3"), "c": ("4", "56", "74"), "h": ("7", "1×2×3×3", "1×2×4×3"),
    "w": ("7", "1×2×3×3", "1×2×3×4"), "k": ("3", "1×2×3×3", "1×3×3×3"),
    "kernel": ("2,3", "1×2×3×3", "1×2×3×3"), "stride": ("1", "1×2×3×3", "1×2×5×5"),
    "padding": ("0", "1×2×3×3", "1×2×2×2"), "dilation": ("2", "1×2×3×3", "1×2×2×2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTROLS)
def test_typed_numbers(page, name):
    """Each number that is typed changes the shapes as it should."""
    value, before, after = CONTROLS[name]
    tab = page.open("")
    shown = 2 if name == "c" else 1
    assert summary(tab)[shown] == before
    tab.locator(f"#value-{name}").fill(value)
    assert summary(tab)[shown] == after
    assert tab.locator("#reset").is_visible()


def test_sliders_flags_and_ops(page):
    """Sliders move the same numbers; flags and operations change what is computed."""
    tab = page.open("")
    for name in CONTROLS:
        slide = tab.locator(f"#slide-{name}")
        slide.evaluate("(node) => { node.value = 2; node.dispatchEvent(new Event('input')); }")
        assert tab.locator(f"#value-{name}").input_value() == "2", name
    tab = page.open("")
    tab.locator("#flag-bias").uncheck()
    assert (text(tab, "#value"), summary(tab)[2]) == ("6", "54")
    tab.locator("#controls [data-key=transposed]").click()
    tab.locator("#value-extra").fill("1")
    assert summary(tab)[1] == "1×2×10×10"
    tab.locator("#controls [data-key=max]").click()
    assert summary(tab)[1] == "1×3×3×3"
    tab.locator("#value-padding").fill("0")
    assert summary(tab)[1] == "1×3×2×2"
    tab.locator("#value-kernel").fill("2")
    tab.locator("#flag-ceil").check()
    assert summary(tab)[1] == "1×3×3×3"
    assert text(tab, "#value") == "2"
    tab.locator("#controls [data-key=avg]").click()
    tab.locator("#value-padding").fill("1")
    means = numbers(tab, "#output-0")
    tab.locator("#flag-countPad").uncheck()
    assert numbers(tab, "#output-0") != means


def test_bad_numbers_turn_red(page):
    """torch's message and the fix; nothing is clamped; a good number brings the panels back."""
    tab = page.open("")
    tab.locator("#value-kernel").fill("9")
    assert "Kernel size can't be greater than actual input size" in text(tab, ".refusal .torch")
    assert "padding of at least 2" in text(tab, ".refusal .fix")
    assert tab.locator("#value-kernel").input_value() == "9"
    assert tab.locator("[data-field=kernel]").evaluate("(n) => n.classList.contains('bad')")
    tab.locator("#value-padding").fill("2")
    assert tab.locator(".refusal").count() == 0
    for typed in ("", "2.5", "abc", "-1", "99999"):
        tab.locator("#value-h").fill(typed)
        assert tab.locator(".refusal").count() == 1, typed
    page.open("preset=cs231n&groups=2")
    assert "in_channels must be divisible by groups" in text(tab, ".refusal")


def test_hover_and_pin(page):
    """Hovering an output lights what it reads, an input cell what reads it; a click pins."""
    tab = page.open("")
    tab.locator("#output-1 [data-key='y/1/2/2']").hover()
    assert tab.locator("#input [data-key='x/2/3/4'].peek").count() == 1
    assert tab.locator("#input [data-key='x/2/2/2'].peek").count() == 0
    assert tab.locator("#output .peek").count() == 1
    tab.locator("#output-1 [data-key='y/1/2/2']").click()
    assert text(tab, "#arithmetic .headline code").strip() == "y[0, 1, 2, 2] ="
    assert tab.locator("#input [data-key='x/2/3/4'].win").count() == 1
    assert tab.locator("#filters [data-key='w/1/0/0/0'].win").count() == 1
    tab.locator("#input-0 [data-key='x/0/1/1']").hover()
    assert tab.locator("#output .peek").count() == 8
    assert "4 cells" in text(tab, "#readers")
    tab.locator("#thread-map [data-key='y/1/0/1']").hover()
    assert tab.locator("#output-1 [data-key='y/1/0/1'].peek").count() == 1


def test_edit_a_number(page):
    """An input value and a weight are changed; the result follows, and the address keeps it."""
    tab = page.open("")
    tab.locator("#input-0 [data-key='x/0/0/0']").click()
    tab.locator("#edit-x").fill("11")
    assert text(tab, "#value") == "17"
    tab.locator("#filters [data-key='w/0/0/1/1']").click()
    tab.locator("#edit-w").fill("-2.5")
    assert text(tab, "#value") == "−21.5"
    tab.locator("#bias [data-key]").click()
    tab.locator("#edit-w").fill("0")
    assert text(tab, "#value") == "−22.5"
    page.reload()
    assert text(tab, "#value") == "−22.5"


def test_step_play_scrub(page):
    """Buttons, slider and keys move one product at a time; playing comes to the end."""
    tab = page.open("")
    tab.locator("#play-next").click()
    assert text(tab, "#now").startswith("1 of 27")
    tab.locator("#play-last").click()
    assert "27 of 27" in text(tab, "#now")
    assert "sum so far 6" in text(tab, "#now")
    tab.locator("#play-back").click()
    assert "26 of 27" in text(tab, "#now")
    tab.locator("#scrub").evaluate("(n) => { n.value = 4; n.dispatchEvent(new Event('input')); }")
    assert text(tab, "#now") == "5 of 27: x[0, 0, 0, 0] · w[0, 0, 1, 1] = 1 · 1 = 1; sum so far 1."
    assert tab.locator(".cell.now").count() == 7
    assert tab.locator("#input .now").get_attribute("data-key") == "x/0/0/0"
    tab.locator("#code").locator("[data-key=loops]").first.click()
    assert "total += x" in text(tab, "#code .line.lit")
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("ArrowRight")
    assert "6 of 27" in text(tab, "#now")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Home")
    assert text(tab, "#now").startswith("All products")
    tab.locator("#cell-next").click()
    assert text(tab, "#value") == "9"
    tab.locator("#symbols").check()
    assert "Σc Σr Σs" in text(tab, "#equation")


def test_play(page):
    """Playing goes from product to product, and stops at the last."""
    tab = page.open("preset=lenet&layer=2")
    tab.locator("#speed").select_option("20")
    tab.locator("#play-play").click()
    assert tab.locator("#play-play").get_attribute("aria-label") == "Pause"
    for _ in range(200):  # a function to wait for would be compiled in the page: the policy forbids
        if tab.locator("#play-play").get_attribute("aria-label") == "Play":
            break
        tab.wait_for_timeout(20)
    assert text(tab, "#now").startswith("4 of 4")


def test_keyboard_only(page):
    """Tab reaches the maps; arrows move the pin and the selection; Enter edits."""
    tab = page.open("")
    tab.locator("#output-0").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        tab.keyboard.press(key)
    assert text(tab, "#value") == "10"
    assert tab.evaluate("document.activeElement.id") == "output-0"
    tab.locator("#input-1").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.id") == "edit-x"
    assert "x[0, 1, 1, 1]" in text(tab, "#input .editor")
    maps = "[...document.querySelectorAll('.trio svg[role=application], #net svg[role]')]"
    assert tab.evaluate(
        f"{maps}.every((node) => node.tabIndex === 0 || node.matches('[role=img]'))"
    )
    tab.locator("#language").focus()
    reached = set()
    for _ in range(70):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.closest('section')?.id ?? ''"))
    assert {"controls", "input", "filters", "output", "arithmetic", "formula"} <= reached


def test_formula(page):
    """Numbers put in, left over, the three notations; a term lights cells; p is solved and used."""
    tab = page.open("preset=cs231n&h=6&w=6&padding=1")
    formula = text(tab, "#formula .axis .equation").replace("\n", "")
    assert re.sub(r"\s+", " ", formula).endswith("⌊5/2⌋ + 1 = 2 + 1 = 3")
    assert tab.locator("#input .cell.over").count() == 3 * 15
    assert "3.5 → 3" in text(tab, "#formula .notations")
    tab.locator("#formula .term.padding").click()
    assert tab.locator("#formula .term.padding").get_attribute("aria-pressed") == "true"
    stroke = "(n) => getComputedStyle(n).strokeWidth"
    assert tab.locator("#input .cell.pad rect").first.evaluate(stroke) == "2px"
    tab.locator("#wanted").fill("4")
    assert text(tab, "#solved") == "p = 2, the only one."
    tab.locator("#use-2").click()
    assert summary(tab)[1] == "1×2×4×4"
    page.open("preset=cs231n&h=32&w=32&kernel=4&stride=1&padding=1&wanted=32")
    assert "1 before and 2 behind" in text(tab, "#solved")


def test_three_ways(page):
    """im2col's lit row, the loops' counters, the stamp; a product of the columns is the output."""
    tab = page.open("preset=cs231n&at=0.1.1.2&step=3")
    lit = tab.locator("#matmul .product svg").first.locator(".lit")
    assert lit.count() == 27
    tab.locator("#matmul [data-key=loops]").click()
    assert text(tab, "#loop-now") == "ih = 2, iw = 3"
    tab.locator("#matmul [data-key=scatter]").click()
    assert tab.locator("#matmul .cell.lit").count() == 2
    page.open("preset=cs231n&op=transposed&stride=2&at=0.0.3.3")
    assert tab.locator("#matmul .cell.lit").count() == 4


def test_groups(page):
    """From 1 to depthwise: weight shape, parameters and wires follow."""
    tab = page.open("preset=cs231n&c=6&k=6")
    assert tab.locator("#groups .wire").count() == 36
    slide = tab.locator("#groups-slide")
    slide.evaluate("(node) => { node.value = 2; node.dispatchEvent(new Event('input')); }")
    assert "6×2×3×3" in text(tab, "#groups-weight")
    assert "114" in text(tab, "#groups-weight")
    tab.locator("#depthwise").click()
    assert "6×1×3×3" in text(tab, "#groups-weight")
    assert tab.locator("#groups .wire").count() == 6


def test_net(page):
    """A layer is opened by a click; the receptive field follows the dragged output cell."""
    tab = page.open("preset=lenet")
    tab.locator("#layer-5").click()
    assert "16×16" in text(tab, "#sees")
    assert summary(tab)[1] == "1×16×5×5"
    tab.locator("#field-output").focus()
    tab.keyboard.press("ArrowDown")
    assert "rows 12…27" in text(tab, "#sees")
    box = tab.locator("#field-output").bounding_box()
    tab.mouse.move(box["x"] + 20, box["y"] + 20)
    tab.mouse.down()
    assert "rows 0…15" in text(tab, "#sees")
    tab.mouse.move(box["x"] + box["width"] - 20, box["y"] + 20)
    tab.mouse.up()
    assert "columns 16…31" in text(tab, "#sees")


def test_threads_and_code(page):
    """Both kernels' maps; the code of all three kinds."""
    tab = page.open("preset=lenet&at=0.2.1.3")
    assert text(tab, "#thread") == "blockIdx.x 8 · threadIdx.x 31"
    tab.locator("#threads [data-key=shared]").click()
    assert text(tab, "#thread") == "blockIdx.x 0 · threadIdx (3, 1)"
    for name, words in (
        ("numpy", "einsum"),
        ("loops", "for oc in"),
        ("torch", "F.conv2d(x, w, b)"),
    ):
        tab.locator("#code").locator(f"[data-key={name}]").first.click()
        assert words in text(tab, "pre.code"), name


def test_quiz(page):
    """A wrong answer is told why, a right one is counted; the layer behind it is opened."""
    tab = page.open("")
    tab.locator("#question-6").click()
    tab.locator("#quiz-number").fill("156")
    tab.locator("#quiz-check").click()
    assert "Not quite" in text(tab, "#quiz-answer")
    assert "for each of the 3 input channels" in text(tab, "#quiz-answer")
    tab.locator("#quiz-number").fill("456")
    tab.keyboard.press("Enter")
    assert "Right" in text(tab, "#quiz-answer")
    assert "computes 456" in text(tab, "#quiz-answer")
    tab.locator("#quiz-open").click()
    assert summary(tab) == SHAPES["lenet"]
    tab.locator("#quiz-next").click()
    tab.locator("#quiz-reveal").click()
    assert "refconv" in text(tab, "#quiz-answer") or "rc." in text(tab, "#quiz-answer")
    tab.locator("#question-2").click()
    tab.locator("#quiz-choice-1").click()
    assert "2 right of 2" in text(tab, "#quiz .body")


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
    tab.locator("#language").click()
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
    tab.locator("#language").click()
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
        tab.locator("#export-output").click()
    assert caught.value.suggested_filename == "refconv-output.svg"
