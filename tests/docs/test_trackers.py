"""Experiment trackers: the examples of their page, which read back what they have written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "trackers.md"


@pytest.mark.long
@pytest.mark.parametrize(
    ("title", "package"), [("MLflow", "mlflow"), ("TensorBoard", "tensorboard"), ("W&B", "wandb")]
)
def test_each_run_of_a_sweep_is_a_run_of_the_tracker(title, package, tmp_path):
    pytest.importorskip(package)
    first, *sections = PAGE.read_text("utf8").split("\n## ")
    (section,) = (text for text in sections if text.startswith(f"{title}\n"))
    (tmp_path / "page.md").write_text(first + section)
    done = subprocess.run(
        [sys.executable, "-m", "doctest", "-o", "NORMALIZE_WHITESPACE", "page.md"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
