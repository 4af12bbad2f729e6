"""Declared dependencies, which must include every module that gdjax imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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
