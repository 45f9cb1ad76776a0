"""The report in a browser: nothing complains, nothing is too wide, and its table sorts."""

from contextlib import chdir
from pathlib import Path

import pytest

from refconv.harness.report import findings, page, summary, trend

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
CPU = ROOT / "bench" / "history" / "cpu-epyc-25.1-2core" / "cpu.jsonl"
EXAMPLE = ROOT / "docs" / "reference" / "example-report.html"
RECORDS = Path("docs", "reference", "example-report")

#: Elements that reach out of the page where nothing scrolls them.
OUTSIDE = """() => {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  for (const node of document.querySelectorAll('body *')) {
    if (node.closest('.scroll, pre') && !node.matches('.scroll, pre')) continue;
    const box = node.getBoundingClientRect();
    if (box.width && box.right > innerWidth + 1) found.push(`${node.tagName} ${node.className}`);
  }
  return found;
}"""
#: Words, and the least contrast of a text, and of a chart's marks, with what is behind it.
CONTRAST = """() => {
  const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => {
    const y = x / 255; return y <= 0.03928 ? y / 12.92 : ((y + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const back = (n) => { for (; n; n = n.parentElement) { const c = getComputedStyle(n);
    if (!/, 0\\)|transparent/.test(c.backgroundColor)) return c.backgroundColor; }
    return 'rgb(255, 255, 255)'; };
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  let text = [99, ''], mark = [99, ''];
  for (const node of document.querySelectorAll('body *')) {
    const svg = node.closest('svg'), style = getComputedStyle(node);
    const behind = () => light(back(svg ? svg.parentElement : node));
    if ([...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())
        && !node.matches('script, style, title')) {
      const found = ratio(light(svg ? style.fill : style.color), behind());
      if (found < text[0]) text = [found, `${node.tagName} ${node.textContent.slice(0, 40)}`];
    } else if (node.matches('use')) {
      const colour = style.fill === 'none' || style.fillOpacity === '0' ? style.stroke : style.fill;
      if (colour === 'none') continue;
      const found = ratio(light(colour), behind());
      if (found < mark[0]) mark = [found, `a mark of ${colour}`];
    }
  }
  return { text, mark };
}"""


class Tab:
    """A page in a tab, watched for complaints and requests."""

    def __init__(self, browser, path, **context) -> None:
        self.address, self.complaints, self.requests = path.as_uri(), [], []
        self.context = browser.new_context(**context)
        self.tab = self.context.new_page()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(self.address)

    def close(self) -> None:
        """Nothing complained, and nothing was asked for but the page itself."""
        self.context.close()
        assert self.complaints == []
        assert all(url.startswith((self.address, "data:")) for url in self.requests)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The example's report, made anew, and a trend."""
    folder = tmp_path_factory.mktemp("report")
    with chdir(ROOT):
        made = findings.Report(summary.read(sorted(RECORDS.iterdir())))
        (folder / "report.html").write_text(page.page(made), encoding="utf-8")
    (folder / "trend.html").write_text(page.trend_page(trend.read([CPU])), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in ("report", "trend")}


def test_the_example_in_the_docs_is_made_of_the_records_beside_it(pages):
    again = f"stale: refconv report {RECORDS} -o {EXAMPLE.relative_to(ROOT)}"
    assert pages["report"].read_text("utf-8") == EXAMPLE.read_text("utf-8"), again


@pytest.mark.parametrize("name", ["report", "trend"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_in_the_light_and_in_the_dark(browser, pages, name, scheme):
    opened = Tab(browser, pages[name], color_scheme=scheme)
    for width in (360, 768, 1440):
        opened.tab.set_viewport_size({"width": width, "height": 900})
        assert opened.tab.evaluate(OUTSIDE) == [], width
    least = opened.tab.evaluate(CONTRAST)
    for what, enough in (("text", 4.5), ("mark", 3.0)):  # WCAG 2.2, 1.4.3 and 1.4.11
        ratio, where = least[what]
        assert ratio >= enough, where
    opened.close()


def test_the_first_screen_says_what_is_slow_and_what_is_inaccurate(browser, pages):
    opened = Tab(browser, pages["report"], viewport={"width": 1440, "height": 900})
    for name in ("h1", "#slowest", "#roughest"):
        box = opened.tab.locator(name).bounding_box()
        assert box["y"] + box["height"] < 900, name
    opened.close()


def test_the_table_sorts_and_filters(browser, pages):
    opened = Tab(browser, pages["report"], viewport={"width": 1440, "height": 900})
    tab, column = opened.tab, "[...document.querySelectorAll('#table tbody tr:not([hidden])')]"
    times = f"{column}.map((r) => r.cells[3].dataset.v).filter(Boolean).map(Number)"
    head = tab.locator("#table thead button", has_text="time")
    for down in (False, True):
        head.click()
        found = tab.evaluate(times)
        assert len(found) > 100
        assert found == sorted(found, reverse=down)
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    tab.fill("#filter", "winograd rn_")
    shown = tab.evaluate(f"{column}.map((r) => r.textContent.toLowerCase())")
    assert 0 < len(shown) < len(found)
    assert all("winograd" in text and "rn_" in text for text in shown)
    assert tab.inner_text("#count").startswith(f"{len(shown)} of ")
    opened.close()


@pytest.mark.parametrize("card", ["#slowest", "#roughest", "#longest"])
def test_a_card_leads_to_its_layer(browser, pages, card):
    """To the table, which then shows that layer's rows."""
    opened = Tab(browser, pages["report"], viewport={"width": 1440, "height": 900})
    tab = opened.tab
    name = tab.inner_text(f"{card} .big")
    tab.click(card)
    rows = tab.locator("#table tbody tr:visible")
    assert rows.count() > 0
    assert all(name in text for text in rows.all_inner_texts())
    assert tab.locator("#table h2").bounding_box()["y"] < 100
    opened.close()
