"""Metadata of the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import gdjax
from gdjax.cli import main

ROOT = Path(__file__).parent.parent


def test_the_command_the_citation_file_and_the_changelog_have_the_same_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"gdjax {gdjax.__version__}\n"
    assert f"version: {gdjax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {gdjax.__version__}" in (ROOT / "docs" / "changelog.md").read_text()


def test_an_unknown_attribute_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gdjax.no_such_name


@pytest.mark.long
def test_a_sweep_in_memory_does_not_import_the_arrays_of_dask():
    """Their import takes up to two seconds, and xarray checks new variables against them."""
    pytest.importorskip("dask.array")
    script = (
        "import sys, gdjax as gd\n"
        "gd.sweep(gd.problems.bowl([1.0, 9.0]), gd.axes(learning_rate=[0.1]), 2)\n"
        "sys.exit('dask.array' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
