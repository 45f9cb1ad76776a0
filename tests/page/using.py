"""What the tests of the page do with it: read, press, write."""

#: Preset → shapes and parameters as panel A shows them.
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


def press(tab, selector):
    """Click by script, which costs no frames; the mouse itself is used where it matters."""
    tab.evaluate(
        """(selector) => document.querySelector(selector)
        .dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }))""",
        selector,
    )


def write(tab, selector, value):
    """Type into a field, or move a slider."""
    tab.evaluate(
        """([selector, value]) => { const field = document.querySelector(selector);
        field.focus(); field.value = value; field.dispatchEvent(new Event("input")); }""",
        [selector, value],
    )


def numbers(tab, selector):
    """The numbers of a map, row after row."""
    found = tab.locator(f"{selector} .number").all_text_contents()
    return [float(value.replace("−", "-")) for value in found]


def summary(tab):
    """Input, output, parameters as panel A has them."""
    values = tab.locator(".summary dd").all_text_contents()
    return values[0], values[1], values[3] if len(values) > 3 else ""
