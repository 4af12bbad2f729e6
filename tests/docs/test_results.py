"""Pages of results/: templates rendered with the numbers of summaries."""

import ast
import copy
import graphlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
import numpy as np
import pytest
from jinja2 import nodes
from PIL import Image

from experiments import render

NAMES = render.names()
SPEC = re.compile(r"\+?,?(?:\.\d)?[a-z%]?")  # of a format
COMMON = {"name", "config", "versions", "device"}  # entries of every summary


def written_numbers(source: str, keys: Iterable[str]) -> list[str]:
    """Return the numbers of a template that are neither from a summary nor allowed.

    A threshold stated before the run may be assigned to a name that begins with `expected`, so that
    claims and text can use it.

    Args:
        source: source of the template.
        keys: keys of its summary; a string in an expression may contain a number as part of a key.
    """
    keys = list(keys)
    env = render.environment()
    prose = "".join(value for _, kind, value in env.lex(source) if kind == "data")
    written = render.NUMBER.findall(render.ALLOWED.sub(" ", prose))
    tree = env.parse(source)
    for output in tree.find_all(nodes.Output):
        for node in output.nodes:
            is_text = isinstance(node, nodes.TemplateData | nodes.Name)
            if not is_text and node.find(nodes.Name) is None:
                written.append(str(node))
    thresholds = []  # and the `place`
    for assign in tree.find_all(nodes.Assign):
        name = assign.target.name if isinstance(assign.target, nodes.Name) else ""
        if name.startswith(("expected", "place")):
            thresholds += [assign, *assign.find_all(nodes.Node)]
    for parent in tree.find_all((nodes.Assign, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair)):
        if any(parent is inner for inner in thresholds):
            continue
        for constant in parent.iter_child_nodes():
            if isinstance(constant, nodes.Const) and isinstance(constant.value, int | float):
                written.append(str(constant.value))
    for constant in tree.find_all(nodes.Const):
        text = constant.value
        if isinstance(text, str) and not SPEC.fullmatch(text) and not any(text in k for k in keys):
            written += render.NUMBER.findall(render.ALLOWED.sub(" ", text))
    return written


def all_keys(value: Any) -> list[str]:
    """Return all keys of a summary, including nested ones."""
    if isinstance(value, Mapping):
        return [key for k, v in value.items() for key in (k, *all_keys(v))]
    return [key for v in value for key in all_keys(v)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_its_template_without_literal_numbers_and_links_all_pictures(name):
    page = (render.RESULTS / name / "README.md").read_text("utf8")
    assert page == render.rendered(name), "run `python -m experiments.render`"
    assert written_numbers(render.source(name), all_keys(render.summary(name))) == []
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", page)
    assert [t for t in targets if not (render.RESULTS / name / t).is_file()] == []
    figures = {f.name for f in (render.RESULTS / name).iterdir() if f.suffix in (".png", ".webp")}
    assert figures == set(targets) & figures, "a picture is not used by any page"


def leaves(summary):
    """Return the names of all entries of a summary that hold no further entries."""
    inner = [leaves(value) for value in summary.values() if isinstance(value, dict)]
    return {k for k, v in summary.items() if not isinstance(v, dict)}.union(*inner)


def written_names(folders):
    """Return a pattern of the names that occur as text, keyword or field in the code of folders."""
    names = set()
    files = [file for folder in folders for file in (render.EXPERIMENTS / folder).glob("*.py")]
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text("utf8")))):
        match node:
            case ast.Constant(value=str(text)) | ast.keyword(arg=str(text)):
                names.add(re.escape(text))
            case ast.AnnAssign(target=ast.Name(id=text)):
                names.add(text)
            case ast.JoinedStr(values=parts):
                texts = [getattr(part, "value", "") for part in parts]
                if re.search("[a-z]", "".join(text for text in texts if isinstance(text, str))):
                    texts = [re.escape(t) if isinstance(t, str) else r"\w+" for t in texts]
                    names.add("".join(texts))
    return re.compile("|".join(names))


@pytest.mark.parametrize("name", NAMES)
def test_no_entry_of_a_summary_is_one_that_the_experiment_no_longer_writes(name):
    """Every name occurs in the code; labels of coordinates occur in the config or on the page."""
    summary = render.summary(name)
    known = written_names([name, "shared", "benchmarks"])
    labels = re.findall(r"\w+", json.dumps(summary["config"]) + render.source(name))
    entries = {key: summary[key] for key in summary.keys() - COMMON}
    names = {n for n in leaves(entries) - set(labels) if n.isidentifier()}
    assert {n for n in names if not known.fullmatch(n)} == set()


def test_a_page_depends_on_its_summary_and_a_false_claim_raises_an_error():
    summary = render.summary("digits")
    changed = copy.deepcopy(summary)
    last = changed["epoch"]["30"]
    last["test_accuracy"] = [0.957, 0.951, 0.963]
    assert "95.7 % (95.1 to 96.3)" in render.rendered("digits", changed)
    last["test_accuracy"] = [0.857, 0.851, 0.863]
    with pytest.raises(ValueError, match="claim"):
        render.rendered("digits", changed)
    del last["test_accuracy"]
    with pytest.raises(jinja2.UndefinedError, match="test_accuracy"):
        render.rendered("digits", changed)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_touches_the_edge_of_a_committed_figure(name):
    """Small runs check legends, labels and sizes of text."""
    for file in sorted((render.RESULTS / name).glob("*.png")):
        pixels = np.asarray(Image.open(file).convert("L"))
        frame = np.concatenate([pixels[[0, -1]].ravel(), pixels[:, [0, -1]].ravel()])
        assert frame.min() > 200, file


@pytest.mark.long
def test_the_table_of_findings_lists_every_experiment_and_pages_are_short():
    pages = {name: render.rendered(name) for name in NAMES}
    stored = (render.RESULTS / "README.md").read_text("utf8")
    assert stored == render.contents(pages), "run `python -m experiments.render`"
    for name, page in pages.items():
        entry = render.entry(name, page)
        assert f"({name}/README.md)" in stored
        assert entry["answer"] in stored
        assert f"| {entry['measured_on']} | {entry['verdict']} |" in stored
        assert len(re.sub(r"^\|.*$", "", page, flags=re.M).split()) <= 900, name
    sections = re.findall("^## (.*)$", stored, re.M)
    assert sections[:3] == ["Learning rates", "Random starts", "Local minima"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Answer": "**" + "word " * 41 + "**"}, "41 words"),
        (
            {"Answer": "**Rates of 1, 2 and 3 % lead to 4 (2 to 5).**"},
            "numbers .'1,', '2', '3', '4'",
        ),
        ({"Verdict": "proven."}, "verdict 'proven'"),
    ],
)
def test_a_finding_is_short_and_has_a_verdict(change, message):
    lines = {"Answer": "**19 of 32 starts end.**", "Measured on": "a net.", "Verdict": "shown."}

    def page(lines):
        return "".join(f"**{word}.** {text}\n\n" for word, text in lines.items())

    assert render.entry("some", page(lines))["measured_on"] == "a net"
    with pytest.raises(ValueError, match=message):
        render.entry("some", page(lines | change))


def test_every_experiment_has_a_page_and_every_page_a_result():
    folders = {file.parent.name for file in render.EXPERIMENTS.glob("*/__main__.py")}
    assert folders == set(NAMES) == {f.parent.name for f in render.RESULTS.glob("*/summary.json")}


def test_imports_of_experiments_point_down():
    """Between experiments, only shared/ and benchmarks/ are imported; no modules form a circle."""
    graph = {}
    for file in render.EXPERIMENTS.glob("*/*.py"):
        package, nodes = file.parent.name, ast.walk(ast.parse(file.read_text("utf8")))
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        modules = [node.module or "" for node in imports]
        others = {name.split(".")[1] for name in modules if name.startswith("experiments.")}
        assert others <= {package, "shared", "benchmarks"}, file
        own = [n.module or a.name for n in imports if n.level for a in n.names]
        graph[f"{package}.{file.stem}"] = [f"{package}.{name}" for name in own]
    graphlib.TopologicalSorter(graph).prepare()
