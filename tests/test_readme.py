"""What the README shows, run as a user would: without this suite's strict flags."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_examples_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "doctest", "-o", "NORMALIZE_WHITESPACE", str(ROOT / "README.md")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_is_short_and_its_pictures_are_there():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)|src=\"([^\"]*)\"", text)
    assert pictures
    for named in pictures:
        assert (ROOT / "".join(named)).is_file()
