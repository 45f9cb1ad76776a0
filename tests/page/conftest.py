"""One Chromium for all tests of the page, and the page opened in it from a file."""

from __future__ import annotations

import shutil

import pytest

DESKTOP = {"width": 1440, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """The page, written to a file as ``refconv learn`` writes it."""
    from refconv.learn.page import build

    path = tmp_path_factory.mktemp("page") / "learn.html"
    path.write_text(build.page(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, driven by Playwright, which downloads none of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the path (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield made
        made.close()


class Page:
    """The page in a tab: opened at a state, and watched for complaints and requests."""

    def __init__(self, browser, html, **context) -> None:
        self.address, self.complaints, self.requests = html.as_uri(), [], []
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(5000)
        self.tab = self.context.new_page()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.open("")

    def open(self, link: str):
        """Go to a state: loaded the first time, then as a changed address is followed."""
        self.requests.clear()
        if self.tab.url.startswith(self.address):
            self.tab.evaluate("(link) => refconv.open(link)", link)
        else:
            self.tab.goto(f"{self.address}#{link}")
        return self.tab

    def reload(self):
        """Load the address that is shown, anew."""
        self.tab.reload()
        return self.tab

    def check(self) -> None:
        """Nothing complained, and nothing was asked for but the page itself."""
        assert self.complaints == []
        assert all(url.startswith((self.address, "data:", "blob:")) for url in self.requests)


@pytest.fixture(scope="session")
def tab(browser, html):
    """A tab of desktop size that tests share; each opens the state it needs."""
    page = Page(browser, html, viewport=DESKTOP)
    yield page
    page.context.close()


@pytest.fixture
def page(tab):
    """The shared tab; what the page complained of in a test fails that test."""
    tab.complaints.clear()
    yield tab
    tab.check()


@pytest.fixture
def opened(page):
    """Open the page at another width, in the dark, without motion; afterwards it is as before."""

    def open_page(link: str = "", viewport=None, color_scheme=None, reduced_motion=None) -> Page:
        if viewport:
            page.tab.set_viewport_size(viewport)
        page.tab.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
        page.open(link)
        return page

    yield open_page
    page.tab.set_viewport_size(DESKTOP)
    page.tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
