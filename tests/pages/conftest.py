"""Fixture of a browser."""

import pytest
from browsing import QUIET, executable


@pytest.fixture(scope="module")
def browser():
    result = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=result, args=list(QUIET))
        yield opened
        opened.close()
