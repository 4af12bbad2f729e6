"""Public names are those of the stubs and of the reference, and all that others use."""

import ast
import doctest
import inspect
import re
import textwrap
import types
from enum import Enum
from pathlib import Path

import pytest
import reference

import gdjax as gd

ROOT = Path(__file__).parents[2]
MAX_TOP, MAX_NAMES = 30, 170  # names at the top besides the rooms; names besides drawers
# Commands of experiments are as those of gdjax.cli; some experiments and a page ask about parts of
# gdjax itself: its process, its method of comparison, what it compiles, how arrays are declared.
INTERNAL = {
    "experiments/__init__.py": ("base.interrupts",),
    "experiments/shared/command.py": ("base.interrupts", "base.process", "base.results"),
    "experiments/benchmarks/descents.py": ("base.process",),
    "experiments/comparisons/__main__.py": ("base.signed_ranks", "search.cross_fitting"),
    "experiments/landscape_graph/__main__.py": ("minima.eigenvector_following",),
    "experiments/transfer/__main__.py": ("search.cross_fitting",),
    "experiments/roofline/__main__.py": ("base.slabs", "sweeps.continued", "sweeps.program"),
    "docs/contributing/packages.md": ("base.arrays",),
}
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
    """Yield the names and objects of gdjax in Python code."""
    tree, names = ast.parse(code), {"gd": "gdjax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gdjax"):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        chain = ast.unparse(node).split(".")
        if chain[0] in names and all(map(str.isidentifier, chain)):
            path = names[chain.pop(0)]
            while chain and isinstance(reference.find(path), types.ModuleType):
                path = f"{path}.{chain.pop(0)}"
            yield path, reference.find(path)


def code_of_pages():
    """Yield the pages, without the reference, and Python code in their blocks and text."""
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        if page.parent != reference.REFERENCE and "_build" not in page.parts:
            text = page.read_text("utf8")
            yield from ((page, code) for code in re.findall(r"`(gd\.[\w.]*\w)", text))
            for block in map(textwrap.dedent, BLOCK.findall(text)):
                lines = [line for line in block.split("\n") if not re.match(r":\w|%", line)]
                examples = doctest.DocTestParser().get_examples(block) if ">>>" in block else ()
                yield page, "".join(e.source for e in examples) or "\n".join(lines)


def code_of_experiments():
    """Yield the modules of experiments and their code."""
    return ((path, path.read_text("utf8")) for path in (ROOT / "experiments").rglob("*.py"))


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


def test_every_class_in_the_result_of_a_public_function_has_a_page(tmp_path):
    """Compare with the classes in the source of the annotations."""
    sources = [ast.parse(file.read_text("utf8")) for file in (ROOT / "gdjax").rglob("*.py")]
    nodes = [node for source in sources for node in ast.walk(source)]
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    assert {"Entries", "Match", "Unseen", "LearningRateResult"} < classes
    pages = {file.rpartition(".")[2].removesuffix("-class") for file in reference.write(tmp_path)}
    for name in LISTED:
        for function in filter(inspect.isfunction, reference.functions_of(reference.find(name))):
            returns = getattr(
                ast.parse(textwrap.dedent(inspect.getsource(function))).body[0], "returns", None
            )
            returned = ast.unparse(returns) if returns else ""
            assert classes & set(re.findall(r"\w+", returned)) <= pages, name


def test_there_are_few_public_names():
    top = [name for name in gd.__all__ if name not in ROOMS and not name.startswith("__")]
    assert len(top) <= MAX_TOP
    drawers = [name for name in LISTED if name.startswith("gdjax.plots.")]
    assert len(LISTED) == len({id(reference.find(name)) for name in LISTED})
    assert len(LISTED) - len(drawers) <= MAX_NAMES


def test_names_of_a_status_have_different_codes():
    kinds = {kind for *_, kind in in_stubs() if isinstance(kind, type) and issubclass(kind, Enum)}
    assert len(kinds) > 5
    assert all(len(kind) == len(kind.__members__) for kind in kinds)


@pytest.mark.long
def test_each_public_name_is_used_in_a_page_an_experiment_or_an_example():
    code = [code for _, code in (*code_of_pages(), *code_of_experiments())]
    used = {id(value) for text in code for _, value in used_in(text)}
    library = "".join(path.read_text("utf8") for path in (ROOT / "gdjax").rglob("*.py"))
    examples = set(
        re.findall(r"\w+", "".join(re.findall(r"^ *(?:>>>|\.\.\.) (.*\n)", library, re.M)))
    )
    unused = [
        name
        for name in LISTED
        if id(reference.find(name)) not in used and name.rpartition(".")[2] not in examples
    ]
    assert not unused, unused


@pytest.mark.long
def test_experiments_and_pages_use_public_names_only():
    public = {id(value) for _, _, value in in_stubs()} | {id(reference.find(n)) for n in LISTED}
    public |= {id(gd), *map(id, ROOMS.values())}
    internal = set()
    for path, code in (*code_of_pages(), *code_of_experiments()):
        file = path.relative_to(ROOT).as_posix()
        for name, value in used_in(code):
            inner = name.removeprefix("gdjax.")
            if id(value) not in public and not inner.startswith(
                INTERNAL.get(file, ("__version__",))
            ):
                internal.add((file, name))
    assert not internal, internal
