"""The built book in a real browser: Debian's Chromium, driven by Playwright, with no host to reach but this one.

Every page, at the width of a desk and of a phone, light and dark. Without Chromium these tests are skipped, loudly;
with REQUIRE_BROWSER=1, as in continuous integration, they fail.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from builds import ROOT
from playwright.sync_api import expect, sync_playwright

from tests.run import BROWSERS

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
NOTEBOOK = "book/quickstart"
MEASURE, SMALLEST_TEXT = (ROOT / "tests/book/layout.js").read_text("utf8"), 8  # pixels
SCREENS = [(width, mode) for width in (1280, 390) for mode in ("light", "dark")]
QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
AXE = {"resultTypes": ["violations"], "preload": False}  # else it fetches style sheets, some from wrong places
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-sync", *QUIET]


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def address(site):
    """Serve the built book on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """Start Chromium, or skip."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        message = "NO BROWSER: the built book was NOT looked at; install Debian's package `chromium`"
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A tab of the browser, with all that went wrong in it."""

    def __init__(self, browser, address, width=1280, mode="light"):
        self.address, self.problems = address, []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.context.add_init_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')")
        self.context.set_default_timeout(120_000)  # a slow machine is no fault
        self.tab = self.context.new_page()
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.tab.on("requestfailed", self._failed)
        self.tab.on("request", self._request)
        self.tab.on("response", self._response)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text}")

    def _failed(self, request):
        if "ERR_ABORTED" not in request.failure:  # what the browser itself dropped, on its way to the next page
            self.problems.append(f"failed: {request.url} ({request.failure})")

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.address:
            self.problems.append(f"another host: {request.url}")

    def _response(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def open(self, page):
        """Open a page and wait until its mathematics is set."""
        self.tab.goto(f"{self.address}/{page}.html", wait_until="load")
        self.tab.evaluate("() => window.MathJax?.startup?.promise")
        return self.tab


@pytest.fixture
def watch(browser, address):
    """Return a function that opens a watched tab; in the end nothing may have gone wrong in any."""
    opened = []

    def start(width=1280, mode="light"):
        opened.append(Watched(browser, address, width, mode))
        return opened[-1]

    yield start
    for watched in opened:
        watched.context.close()
        assert watched.problems == []


@pytest.fixture(scope="session")
def screens(browser, address):
    """One watched tab per screen, open for all pages: what they share is loaded once."""
    tabs = {screen: Watched(browser, address, *screen) for screen in SCREENS}
    yield tabs
    for watched in tabs.values():
        watched.context.close()


@pytest.mark.parametrize(("width", "mode"), SCREENS)
@pytest.mark.parametrize("page", PAGES)
def test_page(screens, page, width, mode):
    """Trap 7: no error, no failed or foreign request, no overflow, all is legible, and nothing serious that axe-core finds."""
    watched = screens[width, mode]
    watched.problems.clear()
    tab = watched.open(page)
    assert tab.get_attribute("html", "data-theme") == mode
    wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} px wider than the screen"
    broken = tab.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    assert broken == []
    assert tab.evaluate(MEASURE, [SMALLEST_TEXT, width > 1000]) == []
    found = Axe().run(tab, options=AXE).response["violations"]
    serious = {
        rule["id"]: [(node["html"][:200], node["failureSummary"]) for node in rule["nodes"]]
        for rule in found
        if rule["impact"] in ("serious", "critical")
    }
    assert serious == {}
    assert watched.problems == []


def test_start(watch):
    """The address of the site leads to the first page."""
    watched = watch()
    watched.tab.goto(watched.address)
    watched.tab.wait_for_url("**/book/index.html")


def test_search_finds(watch):
    """A word of one page leads to it."""
    tab = watch().open("search")
    tab.goto(f"{tab.url}?q=requirements.lock")
    expect(tab.locator("#search-results li a").first).to_be_visible(timeout=15000)
    assert "Installation" in tab.locator("#search-results li a").all_text_contents()


def test_search_opens_from_a_page(watch):
    """The field in the sidebar opens the search, and leads to its results."""
    tab = watch().open(PAGES[0])
    tab.locator("button.search-button-field").first.click()
    tab.locator("#pst-search-dialog input[type=search]").fill("installation")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/search.html?q=installation*")


def test_menu_opens_on_the_phone(watch):
    """The button shows the table of contents, and a link of it leads on."""
    tab = watch(390).open(PAGES[0])
    link = tab.locator(".bd-sidebar-primary, #pst-primary-sidebar-modal").get_by_role("link", name="Installation")
    expect(link.first).not_to_be_visible()
    tab.locator("button.primary-toggle:visible").first.click()
    link.first.wait_for(state="visible")
    link.first.click()
    tab.wait_for_url("**/installation.html")


def test_math_is_set(watch):
    """Trap 7: MathJax sets every formula from the files of the book."""
    tab = watch().open(NOTEBOOK)
    formulas = tab.locator(".math").count()
    assert formulas >= 1
    assert tab.locator("mjx-container").count() >= formulas
    assert tab.locator("mjx-merror").count() == 0


def test_copy_button_copies(watch):
    """The button of a code cell puts its code on the clipboard."""
    tab = watch().open(NOTEBOOK)
    cell = tab.locator("div.cell_input div.highlight").first
    cell.hover()
    cell.locator("button.copybtn").click()
    tab.wait_for_function("async () => (await navigator.clipboard.readText()).length > 0")
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == cell.locator("pre").inner_text().strip()


def test_notebook_downloads(watch):
    """Trap 4: the page offers its notebook."""
    tab = watch().open(NOTEBOOK)
    link = tab.locator("a.btn-download-notebook-button, a[href$='.ipynb']").first
    assert link.get_attribute("href").endswith("_sources/book/quickstart.ipynb")
    answer = tab.request.get(f"{tab.url.rsplit('/book/', 1)[0]}/_sources/book/quickstart.ipynb")
    assert answer.ok and '"outputs"' in answer.text()
