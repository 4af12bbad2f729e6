"""Search of the built site: what is looked for by common words is found first."""

import functools
import http.server
import threading

import gallery
import pytest

from tests.pages.conftest import browser  # noqa: F401

SITE = gallery.FOLDER.parent / "_build" / "html"
FIRST = {
    "own data": "how_to/data",
    "checkpoint": "how_to/checkpoints",
    "seeds": "how_to/read_a_sweep",
    "GPU": "how_to/devices",
    "how long": "how_to/size_and_time",
    "compare": "how_to/from_question_to_claim",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.mark.long
def test_the_page_of_common_words_is_found_first(browser):  # noqa: F811
    if not (SITE / "searchindex.js").exists():
        pytest.skip("needs the site: .ci/run site")
    handler = functools.partial(Quiet, directory=str(SITE))
    found = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        for words in FIRST:
            page.goto(f"http://127.0.0.1:{server.server_port}/search.html?q={words}")
            page.wait_for_function("document.querySelector('#search-results h2 + p')?.innerText")
            link = page.wait_for_selector("ul.search li > a").get_attribute("href")
            found[words] = link.partition(".html")[0]
        server.shutdown()
    assert found == FIRST
