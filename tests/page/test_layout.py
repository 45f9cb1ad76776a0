"""How the page lies: nothing outside its container, nothing over its neighbour, at any width."""

import pytest

pytestmark = pytest.mark.browser

#: What is looked at: (link, what is special about it).
STATES = [
    "preset=cs231n&step=14&view=im2col&code=loops",
    "preset=lenet&layer=3&at=0.3.2.2&view=scatter",
    "preset=mnist&view=loops&symbols=1&code=numpy",
    "preset=netd&layer=2&at=0.3.20.20&step=40&gpu=shared",
    "preset=discriminator&layer=2&lang=zh&view=scatter",
    "preset=cs231n&op=transposed&stride=2&extra=1&at=0.0.3.3&lang=zh&select=x.0.1.1",
    "preset=cs231n&op=avg&ceil=1&kernel=2&padding=1&at=0.0.2.2",
    "preset=cs231n&kernel=9",
]

#: Elements whose box leaves the box of the container around them, and texts cut off in cells.
OUTSIDE = """() => {
  const found = [], scrolls = (n) => /auto|scroll/.test(getComputedStyle(n).overflowX);
  const name = (n) => `${n.closest('section, header, footer')?.id ?? ''} ${n.tagName}.` +
    `${n.getAttribute('class') ?? ''} ${(n.textContent ?? '').trim().slice(0, 40)}`;
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page scrolls sideways');
  for (const node of document.querySelectorAll('header *, .panel *, footer *')) {
    if (node.closest('svg') && node.tagName !== 'svg') continue;
    const box = node.getBoundingClientRect();
    if (!box.width || node.closest('pre')) continue;
    const frame = node.closest('.panel, header, footer').getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(name(node));
    if (!scrolls(node) && node.scrollWidth > node.clientWidth + 1 && node.clientWidth &&
      getComputedStyle(node).display !== 'inline') found.push(`inside ${name(node)}`);
  }
  for (const cell of document.querySelectorAll('svg.grid .cell')) {
    const words = cell.querySelector('text');
    if (words?.textContent && words.getBBox().width > cell.querySelector('rect').getBBox().width)
      found.push(`cell ${name(cell)}`);
  }
  for (const words of document.querySelectorAll('.wiring text')) {
    const box = words.getBoundingClientRect();
    const frame = words.ownerSVGElement.getBoundingClientRect();
    if (box.left < frame.left - 1 || box.right > frame.right + 1) found.push(name(words));
  }
  return [...new Set(found)];
}"""

#: Siblings that lie over one another.
OVER = """() => {
  const found = [], text = (n) => `${n.tagName} ${(n.textContent ?? '').trim().slice(0, 30)}`;
  const boxes = '.panel > *, .body > *, .maps > *, .field > *, .player > *, .row > *, .strip > *,' +
    ' .block > *, .product > *, .beside > *, .facts > *, .fields > *, .loop > *, .tools > *,' +
    ' .questions > *, .choice > *, .pills > *, .notations > *, .solver > *, .summary > *,' +
    ' #panels > *, .trio > *, header > *, .presets > *';
  for (const parent of new Set([...document.querySelectorAll(boxes)].map((n) => n.parentElement))) {
    const all = [...parent.children].map((n) => [n, n.getBoundingClientRect()])
      .filter(([, box]) => box.width && box.height);
    all.forEach(([a, p], i) => all.slice(i + 1).forEach(([b, q]) => {
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 1) found.push(`${text(a)} over ${text(b)}`);
    }));
  }
  return found;
}"""


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_outside_or_over(opened, width):
    """Every preset and the odd states, in both languages."""
    page = opened(viewport={"width": width, "height": 900})
    for link in STATES:
        tab = page.open(link)
        assert tab.evaluate(OUTSIDE) == [], (width, link)
        assert tab.evaluate(OVER) == [], (width, link)


def test_the_checks_can_fail(opened):
    """A box that is too wide, and one that is moved over its neighbour, are found."""
    tab = opened("preset=cs231n", viewport={"width": 768, "height": 900}).tab
    tab.evaluate("document.querySelector('#formula .solver').style.setProperty('width', '900px')")
    assert any("formula" in each for each in tab.evaluate(OUTSIDE))
    tab.evaluate("document.querySelector('#totals').style.setProperty('margin-top', '-60px')")
    assert any("4 + 1 + 1" in each for each in tab.evaluate(OVER))


#: WCAG contrast of every text against what is painted behind it, where that is plain.
CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((all, v, i) => all + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const ground = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const paint = n.classList.contains('cell') ? getComputedStyle(n.querySelector('rect')).fill
        : getComputedStyle(n).backgroundColor;
      const value = rgb(paint);
      if (paint !== 'none' && value.length && value[3] !== 0) return value;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll('p, b, span, label, button, dt, dd, code, h1, h2,' +
    ' h3, small, figcaption, .cell text')) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())) continue;
    if (!node.getBoundingClientRect().width) continue;
    const style = getComputedStyle(node);
    const value = ratio(rgb(node.tagName === 'text' ? style.fill : style.color), ground(node));
    if (value < 4.5) found.push(`${value.toFixed(2)} ${node.tagName}.${node.className} ` +
      node.textContent.trim().slice(0, 30));
  }
  return [...new Set(found)].slice(0, 20);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened, scheme):
    """Contrast of at least 4.5 everywhere; the system's choice of dark is followed or overruled."""
    page = opened(color_scheme=scheme, reduced_motion="reduce")
    for link in (
        "preset=cs231n&step=5&code=loops",
        "preset=lenet&layer=3",
        "preset=cs231n&kernel=9",
    ):
        tab = page.open(link)
        assert tab.evaluate(CONTRAST) == [], link
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    assert dark == (scheme == "dark")
    tab = page.open("preset=cs231n&theme=" + ("light" if scheme == "dark" else "dark"))
    assert (
        tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    ) != dark


def test_reduced_motion(opened):
    """Nothing moves by itself where that is not wanted."""
    moving = "getComputedStyle(document.querySelector('#input .cell.now rect')).transitionDuration"
    assert opened("step=3", reduced_motion="reduce").tab.evaluate(moving) == "0s"
    assert opened("step=3", reduced_motion="no-preference").tab.evaluate(moving) != "0s"
