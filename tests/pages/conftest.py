"""Fixtures: a browser, and the saved page of a lesson."""

import pytest
from browsing import QUIET, executable

import gdjax as gd


@pytest.fixture(scope="module")
def browser():
    result = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=result, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def lesson_file(tmp_path_factory):
    """Return the path of a saved lesson with eight networks in its last step."""
    page = gd.lesson(gd.problems.digits("mnist5k"), 8)
    return page.save(tmp_path_factory.mktemp("lesson") / "lesson.html")
