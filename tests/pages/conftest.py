"""One browser for a file of tests, one descent for all tests of the lesson."""

import jax
import optax
import pytest
from browsing import QUIET, executable

import gdjax as gd


@pytest.fixture(scope="module")
def browser():
    found = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def tiny_lesson():
    """The digit network after a few hundred steps, with what was kept on its way."""
    problem = gd.problems.digits("mnist5k", samples=1000)
    key = jax.random.key(0)
    run = gd.descend(
        problem, optax.sgd(6.0), problem.init(key), 400,
        key=key, batch_size=32, record_every=20, snapshot_every=20,
    )  # fmt: skip
    return problem, run
