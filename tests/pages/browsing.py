"""Helpers for tests of pages in a browser: actions and checks."""

import pytest

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

WCAG = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"],
    "rules": {"landmark-unique": {"enabled": True}},
    "resultTypes": ["violations"],
}
# Elements that the Tab key should reach, and the focused element.
USABLE = """() => [...document.querySelectorAll("button, select, input, a[href], [tabindex='0']")]
  .filter((node) => node.getClientRects().length && !node.disabled && node.tabIndex >= 0)
  .map((node) => node.id || node.getAttribute("aria-label") || node.textContent || node.type)"""
FOCUSED = """() => {
  const node = document.activeElement;
  return node.id || node.getAttribute("aria-label") || node.textContent || node.type;
}"""


class OpenedPage:
    """A page in the browser, with its console messages, errors and requests.

    Args:
        browser: a Playwright browser.
        file: path of the HTML file.
        size: width and height of the window.
        address: fragment of the URL, including the #.
    """

    def __init__(self, browser, file, size=DESK, address=""):
        self.context = browser.new_context(viewport=size, has_touch=size is PHONE, offline=True)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri() + address)
        # A lesson adds elements while it loads; a click before the end could miss its target.
        self.page.evaluate("async () => { if (typeof lesson !== 'undefined') await lesson; }")
        OpenedPage.settle(self)

    def text(self, selector):
        return self.page.text_content(selector).replace("\xa0", " ")

    def place(self, selector, across=0.5, down=0.5):
        """Scroll to an element; return the pixel at given fractions of its size."""
        result = self.page.locator(selector)
        result.scroll_into_view_if_needed()
        box = result.bounding_box()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def click(self, selector, across=0.5, down=0.5):
        self.page.mouse.click(*self.place(selector, across, down))

    def drag(self, selector, *points):
        first, *rest = [self.place(selector, *point) for point in points]
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for point in rest:
            self.page.mouse.move(*point, steps=3)
        self.page.mouse.up()
        self.settle()

    def keys(self, selector, *keys):
        self.page.focus(selector)
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def settle(self):
        """Wait for two animation frames."""
        twice = "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
        self.page.evaluate(twice)

    def picture(self, selector):
        """Return the image of a canvas as text, for comparison."""
        return self.page.evaluate("(at) => document.querySelector(at).toDataURL()", selector)

    def violations(self):
        """Return the violations of WCAG levels A and AA that axe-core finds."""
        axe = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
        )
        results = axe.Axe().run(self.page, options=WCAG).response["violations"]
        return [(one["id"], node["html"][:80]) for one in results for node in one["nodes"]]

    def check_errors_and_accessibility(self):
        """Check errors, requests, accessibility and keyboard access."""
        assert self.complaints == []
        assert [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))] == []
        assert self.violations() == []
        usable = self.page.evaluate(USABLE)
        self.page.evaluate("() => document.activeElement.blur()")
        reached = []
        for _ in range(len(usable) + 3):
            self.page.keyboard.press("Tab")
            reached.append(self.page.evaluate(FOCUSED))
        assert set(usable) <= set(reached)
