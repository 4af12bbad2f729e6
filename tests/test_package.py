"""Metadata, dependencies, imports and README of the package."""

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import gdjax
from gdjax.cli import main
from tests.processes import python

ROOT = Path(__file__).parent.parent


def test_the_command_the_citation_file_and_the_changelog_have_the_same_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"gdjax {gdjax.__version__}\n"
    assert f"version: {gdjax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {gdjax.__version__}" in (ROOT / "docs" / "changelog.md").read_text()


def test_an_unknown_attribute_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = gdjax.no_such_name


def test_files_named_in_the_guide_for_changes_exist():
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(r"^## Where to change what\n(.*?)^## ", guide, re.M | re.S)
    named = re.findall(r"`([\w./]+/[\w.]*)`", section)
    assert len(named) > 24
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.long
def test_a_sweep_in_memory_does_not_import_the_arrays_of_dask():
    """Their import takes up to two seconds, and xarray checks new variables against them."""
    pytest.importorskip("dask.array")
    script = (
        "import sys, gdjax as gd\n"
        "gd.sweep(gd.problems.bowl([1.0, 9.0]), gd.axes(learning_rate=[0.1]), 2)\n"
        "sys.exit('dask.array' in sys.modules)"
    )
    python("-c", script)


def imported() -> dict[str, str]:
    """Return the external modules that gdjax imports, each with an importing file."""
    modules = {}
    for file in (ROOT / "gdjax").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            modules |= {name.partition(".")[0]: file.name for name in names}
    own = sys.stdlib_module_names | {"gdjax"}
    return {name: file for name, file in modules.items() if name not in own}


@pytest.mark.long
def test_every_imported_module_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {
        re.match(r"[\w.-]+", entry)[0].lower().replace("_", "-")
        for entries in lists
        for entry in entries
    }
    result = packages_distributions()
    modules = imported()
    assert {"jax", "numpy", "PIL"} <= set(modules)
    missing = {
        f"{module} ({file})"
        for module, file in modules.items()
        if not {name.lower().replace("_", "-") for name in result[module]} & declared
    }
    assert not missing


@pytest.mark.long
def test_examples_of_the_readme_run(tmp_path):
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    doctest = ("-m", "doctest", "-o", "NORMALIZE_WHITESPACE")
    python(*doctest, ROOT / "README.md", cwd=tmp_path, env=quiet)


def test_the_readme_states_the_number_of_experiments_and_its_figures_exist():
    text = (ROOT / "README.md").read_text()
    result = re.search(r"(\d+) experiments", text)
    assert result is not None
    assert int(result[1]) == len(list((ROOT / "results").glob("*/summary.json")))
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)|src=\"([^\"]*)\"", text)
    assert figures
    for named in figures:
        assert (ROOT / "".join(named)).is_file()
