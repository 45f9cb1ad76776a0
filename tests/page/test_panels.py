"""The page as it is used: every preset and control, and keys."""

import json
import re

import pytest

from refconv.learn.page import build

from .using import SHAPES, numbers, press, summary, text, write

pytestmark = pytest.mark.browser

PRESETS = list(build.presets())


@pytest.mark.parametrize("name", PRESETS)
def test_presets(page, name):
    """Chosen by a click; shapes and parameters stand in panel A; every panel is filled."""
    tab = page.open("")
    press(tab, f"nav [data-key={name}]")
    assert summary(tab) == SHAPES[name]
    for panel in ("input", "filters", "output", "arithmetic", "formula", "matmul", "groups", "net",
                  "threads", "code", "quiz"):  # fmt: skip
        assert tab.locator(f"#{panel} .body > *").count() > 0, panel
    assert tab.locator("#net .strip li").count() == len(build.presets()[name]["layers"])
    assert tab.evaluate("document.querySelectorAll('svg.grid .cell').length") < 2500
    names = tab.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(names) == len(set(names))


def test_cs231n_is_golden(page, golden):
    """Both output maps, and the pinned number in the panels that show it."""
    tab = page.open("preset=cs231n")
    for k in range(2):
        assert numbers(tab, f"#output-{k}") == [v for row in golden["output"][k] for v in row]
    assert text(tab, "#value") == "7"
    assert text(tab, "#totals") == "4 + 1 + 1 + b 1 = 7"
    assert "would be 4" in text(tab, "#arithmetic .hint")
    press(tab, "#flip")
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
    write(tab, f"#value-{name}", value)
    assert summary(tab)[shown] == after
    assert tab.locator("#reset").is_visible()


def test_sliders_flags_and_ops(page):
    """Sliders move the same numbers; flags and operations change what is computed."""
    tab = page.open("")
    for name in CONTROLS:
        write(tab, f"#slide-{name}", 2)
        assert tab.locator(f"#value-{name}").input_value() == "2", name
    tab = page.open("")
    press(tab, "#flag-bias")
    assert (text(tab, "#value"), summary(tab)[2]) == ("6", "54")
    press(tab, "#controls [data-key=transposed]")
    write(tab, "#value-extra", "1")
    assert summary(tab)[1] == "1×2×10×10"
    press(tab, "#controls [data-key=max]")
    assert summary(tab)[1] == "1×3×3×3"
    write(tab, "#value-padding", "0")
    assert summary(tab)[1] == "1×3×2×2"
    write(tab, "#value-kernel", "2")
    press(tab, "#flag-ceil")
    assert summary(tab)[1] == "1×3×3×3"
    assert text(tab, "#value") == "2"
    press(tab, "#controls [data-key=avg]")
    write(tab, "#value-padding", "1")
    means = numbers(tab, "#output-0")
    press(tab, "#flag-countPad")
    assert numbers(tab, "#output-0") != means


def test_bad_numbers_turn_red(page):
    """torch's message and the fix; nothing is clamped; a good number brings the panels back."""
    tab = page.open("")
    write(tab, "#value-kernel", "9")
    assert "Kernel size can't be greater than actual input size" in text(tab, ".refusal .torch")
    assert "padding of at least 2" in text(tab, ".refusal .fix")
    assert tab.locator("#value-kernel").input_value() == "9"
    assert tab.locator("[data-field=kernel]").evaluate("(n) => n.classList.contains('bad')")
    write(tab, "#value-padding", "2")
    assert tab.locator(".refusal").count() == 0
    for typed in ("", "2.5", "abc", "-1", "99999"):
        write(tab, "#value-h", typed)
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
    press(tab, "#input-0 [data-key='x/0/0/0']")
    write(tab, "#edit-x", "11")
    assert text(tab, "#value") == "17"
    press(tab, "#filters [data-key='w/0/0/1/1']")
    write(tab, "#edit-w", "-2.5")
    assert text(tab, "#value") == "−21.5"
    press(tab, "#bias [data-key]")
    write(tab, "#edit-w", "0")
    assert text(tab, "#value") == "−22.5"
    page.reload()
    assert text(tab, "#value") == "−22.5"


def test_step_play_scrub(page):
    """Buttons, slider and keys move one product at a time; playing comes to the end."""
    tab = page.open("")
    press(tab, "#play-next")
    assert text(tab, "#now").startswith("1 of 27")
    press(tab, "#play-last")
    assert "27 of 27" in text(tab, "#now")
    assert "sum so far 6" in text(tab, "#now")
    press(tab, "#play-back")
    assert "26 of 27" in text(tab, "#now")
    write(tab, "#scrub", 4)
    assert text(tab, "#now") == "5 of 27: x[0, 0, 0, 0] · w[0, 0, 1, 1] = 1 · 1 = 1; sum so far 1."
    assert tab.locator(".cell.now").count() == 7
    assert tab.locator("#input .now").get_attribute("data-key") == "x/0/0/0"
    press(tab, ".panel#code [data-key=loops]")
    assert "total += x" in text(tab, "#code-lines .line.lit")
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("ArrowRight")
    assert "6 of 27" in text(tab, "#now")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Home")
    assert text(tab, "#now").startswith("All products")
    press(tab, "#cell-next")
    assert text(tab, "#value") == "9"
    press(tab, "#symbols")
    assert "Σc Σr Σs" in text(tab, "#equation")


def test_play(page):
    """Playing goes from product to product, and stops at the last."""
    tab = page.open("preset=lenet&layer=2")
    tab.locator("#speed").select_option("20")
    press(tab, "#play-play")
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
    press(tab, "#formula .term.padding")
    assert tab.locator("#formula .term.padding").get_attribute("aria-pressed") == "true"
    stroke = "(n) => getComputedStyle(n).strokeWidth"
    assert tab.locator("#input .cell.pad rect").first.evaluate(stroke) == "2px"
    write(tab, "#wanted", "4")
    assert text(tab, "#solved") == "p = 2, the only one."
    press(tab, "#use-2")
    assert summary(tab)[1] == "1×2×4×4"
    page.open("preset=cs231n&h=32&w=32&kernel=4&stride=1&padding=1&wanted=32")
    assert "1 before and 2 behind" in text(tab, "#solved")


def test_three_ways(page):
    """im2col's lit row, the loops' counters, the stamp; a product of the columns is the output."""
    tab = page.open("preset=cs231n&at=0.1.1.2&step=3")
    lit = tab.locator("#matmul .product svg").first.locator(".lit")
    assert lit.count() == 27
    press(tab, "#matmul [data-key=loops]")
    assert text(tab, "#loop-now") == "ih = 2, iw = 3"
    press(tab, "#matmul [data-key=scatter]")
    assert tab.locator("#matmul .cell.lit").count() == 2
    page.open("preset=cs231n&op=transposed&stride=2&at=0.0.3.3")
    assert tab.locator("#matmul .cell.lit").count() == 4


def test_groups(page):
    """From 1 to depthwise: weight shape, parameters and wires follow."""
    tab = page.open("preset=cs231n&c=6&k=6")
    assert tab.locator("#groups .wire").count() == 36
    write(tab, "#groups-slide", 2)
    assert "6×2×3×3" in text(tab, "#groups-weight")
    assert "114" in text(tab, "#groups-weight")
    press(tab, "#depthwise")
    assert "6×1×3×3" in text(tab, "#groups-weight")
    assert tab.locator("#groups .wire").count() == 6


def test_net(page):
    """A layer is opened by a click; the receptive field follows the dragged output cell."""
    tab = page.open("preset=lenet")
    press(tab, "#layer-5")
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
    page.open("preset=cs231n&op=transposed")
    assert "sees" not in text(tab, "#net .strip")  # it differs from cell to cell
    assert "1×1" in text(tab, "#sees")


def test_threads_and_code(page):
    """Both kernels' maps; the code of all three kinds."""
    tab = page.open("preset=lenet&at=0.2.1.3")
    assert text(tab, "#thread") == "blockIdx.x 8 · threadIdx.x 31"
    press(tab, "#threads [data-key=shared]")
    assert text(tab, "#thread") == "blockIdx.x 0 · threadIdx (3, 1)"
    for name, words in (
        ("numpy", "einsum"),
        ("loops", "for oc in"),
        ("torch", "F.conv2d(x, w, b)"),
    ):
        press(tab, f".panel#code [data-key={name}]")
        assert words in text(tab, "pre.code"), name


def test_quiz(page):
    """A wrong answer is told why, a right one is counted; the layer behind it is opened."""
    tab = page.open("")
    press(tab, "#question-6")
    write(tab, "#quiz-number", "156")
    press(tab, "#quiz-check")
    assert "Not quite" in text(tab, "#quiz-answer")
    assert "for each of the 3 input channels" in text(tab, "#quiz-answer")
    write(tab, "#quiz-number", "456")
    tab.keyboard.press("Enter")
    assert "Right" in text(tab, "#quiz-answer")
    assert "computes 456" in text(tab, "#quiz-answer")
    press(tab, "#quiz-open")
    assert summary(tab) == SHAPES["lenet"]
    press(tab, "#quiz-next")
    press(tab, "#quiz-reveal")
    assert "refconv" in text(tab, "#quiz-answer") or "rc." in text(tab, "#quiz-answer")
    press(tab, "#question-2")
    press(tab, "#quiz-choice-1")
    assert "2 right of 2" in text(tab, "#quiz .body")
