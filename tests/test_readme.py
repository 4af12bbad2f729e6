"""README: examples, number of experiments, and figures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.long
def test_examples_of_the_readme_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "doctest", "-o", "NORMALIZE_WHITESPACE", str(ROOT / "README.md")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_states_the_number_of_experiments():
    result = re.search(r"(\d+) experiments", (ROOT / "README.md").read_text())
    assert result is not None
    assert int(result[1]) == len(list((ROOT / "results").glob("*/summary.json")))


def test_the_figures_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)|src=\"([^\"]*)\"", text)
    assert figures
    for named in figures:
        assert (ROOT / "".join(named)).is_file()
