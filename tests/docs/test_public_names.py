"""Public names are those of the stubs and of the reference, and each is used somewhere."""

import ast
import doctest
import re
import textwrap
import types
from pathlib import Path

import pytest
import reference

import gdjax as gd

ROOT = Path(__file__).parents[2]
MAX_TOP, MAX_NAMES = 30, 170  # names at the top besides the rooms; names besides drawers
BLOCK = re.compile(
    r"^ *```(?:python|\{code-cell\} python)\n(?:---\n.*?^---\n)?(.*?)^ *```", re.M | re.S
)
BLOCK = re.compile(
    r"^ *```(?:python|\{code-cell\} python)\n(?:---\n.*?^---\n)?(.*?)^ *```", re.M | re.S
)
LISTED = reference.listed()
ROOMS = {
    name: value
    for name in gd.__all__
    if isinstance(value := getattr(gd, name), types.ModuleType) and hasattr(value, "__path__")
}


def in_stubs():
    """Yield the objects that stubs list, and the names of the modules that they list."""
    for package in (gd, *ROOMS.values()):
        for name in package.__all__:
            if not name.startswith("__") and getattr(package, name) not in ROOMS.values():
                yield package, name, getattr(package, name)


def used_in(code):
    """Yield the objects of gdjax that Python code names."""
    tree, names = ast.parse(code), {"gd": "gdjax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gdjax"):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        chain = ast.unparse(node).split(".")
        if chain[0] in names and all(map(str.isidentifier, chain)):
            value = reference.find(names[chain[0]])
            for name in chain[1:]:
                value = getattr(value, name) if isinstance(value, types.ModuleType) else value
            yield value


def code_of_pages():
    """Yield the Python code on the pages, in blocks and in the text, without the reference."""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        if page.parent != reference.REFERENCE and "_build" not in page.parts:
            text = page.read_text("utf8")
            yield from re.findall(r"`(gd\.[\w.]*\w)", text)
            for block in map(textwrap.dedent, BLOCK.findall(text)):
                lines = [line for line in block.split("\n") if not re.match(r":\w|%", line)]
                examples = doctest.DocTestParser().get_examples(block) if ">>>" in block else ()
                yield "".join(e.source for e in examples) or "\n".join(lines)


def test_public_names_are_those_of_the_reference():
    known = {id(reference.find(name)) for name in LISTED}
    objects = {id(value) for _, _, value in in_stubs()}
    modules = {value.__name__ for _, _, value in in_stubs() if isinstance(value, types.ModuleType)}
    packages = {"gdjax", *(room.__name__ for room in ROOMS.values())}
    missing = [
        f"{package.__name__}.{name}"
        for package, name, value in in_stubs()
        if not isinstance(value, types.ModuleType) and id(value) not in known
    ]
    assert missing == []
    for name in LISTED:
        parent = reference.find(name.rpartition(".")[0]).__name__
        assert id(reference.find(name)) in objects or parent in modules - packages, name


def test_there_are_few_public_names():
    top = [name for name in gd.__all__ if name not in ROOMS and not name.startswith("__")]
    assert len(top) <= MAX_TOP
    drawers = [name for name in LISTED if name.startswith("gdjax.plots.")]
    assert len(LISTED) == len({id(reference.find(name)) for name in LISTED})
    assert len(LISTED) - len(drawers) <= MAX_NAMES


@pytest.mark.long
def test_each_public_name_is_used_in_a_page_an_experiment_or_an_example():
    experiments = [path.read_text("utf8") for path in (ROOT / "experiments").rglob("*.py")]
    used = {id(value) for code in (*code_of_pages(), *experiments) for value in used_in(code)}
    library = "".join(path.read_text("utf8") for path in (ROOT / "gdjax").rglob("*.py"))
    examples = set(
        re.findall(r"\w+", "".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*\n)", library, re.M)))
    )
    unused = [
        name
        for name in LISTED
        if id(reference.find(name)) not in used and name.rpartition(".")[2] not in examples
    ]
    assert unused == []
