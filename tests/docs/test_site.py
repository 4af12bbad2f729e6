"""The site: nothing public is missing, and every example of the how-to pages runs.

That it can be built, has no dead links and that its notebooks run is the build's own check.
"""

import doctest
import inspect
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import reference

import gdjax as gd

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [DOCS / "how_to_models.md", *sorted((DOCS / "how_to").glob("*.md"))]


def public(package):
    """Names and objects that a package hands out, those of its packages included."""
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, types.ModuleType) and hasattr(value, "__all__"):
            yield from public(value)
        elif not name.startswith("__"):
            yield f"{package.__name__}.{name}", value


def test_nothing_public_is_missing_in_the_reference():
    pages = [page.read_text("utf8") for page in (DOCS / "reference").glob("*.md")]
    built = reference.documented("\n".join(map(reference.expanded, pages)))
    everything = dict(public(gd))
    assert len(everything) > 100
    missing = {name for name, value in everything.items() if id(value) not in built}
    assert {name for name in missing if not name.startswith("gdjax.cli")} == set()


def test_what_no_page_names_is_put_where_its_package_belongs():
    known = {id(value) for name, value in public(gd) if name != "gdjax.sweeps.Run"}
    assert reference.rest_of("gdjax.sweeps", known).splitlines()[-4:] == [
        ".. autoclass:: gdjax.sweeps.Run", "   :members:", "", "```",
    ]  # fmt: skip
    assert reference.rest_of("gdjax.stores", known) == ""


def test_every_public_function_says_what_it_does():
    unsaid = {
        name
        for name, value in public(gd)
        if (inspect.isfunction(value) or inspect.isclass(value)) and not inspect.getdoc(value)
    }
    assert unsaid == set()


def test_the_page_of_commands_has_all_of_them(capsys):
    page = (DOCS / "reference" / "commands.md").read_text("utf8")
    with pytest.raises(SystemExit):
        gd.cli.main(["--help"])
    usage = re.search(r"\{([a-z,\s]+)\}", capsys.readouterr().out)
    assert usage is not None
    commands = re.findall("[a-z]+", usage[1])
    assert "sweep" in commands
    assert [name for name in commands if f'"{name}"' not in page] == []


def test_pages_name_nothing_that_is_only_here():
    for page in DOCS.rglob("*.md"):
        text = page.read_text("utf8")
        assert not re.search(r"/work/|/tmp/|/root/", text), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_are_written_so_that_they_can_be_run(page):
    for code in re.findall(r"^ *```python\n(.*?)^ *```", page.read_text("utf8"), re.M | re.S):
        assert code.lstrip().startswith((">>>", "import")), code


@pytest.mark.long
def test_every_example_of_the_how_to_pages_runs(tmp_path):
    """All pages in one process, each in its own folder: only whole examples show that they run."""
    pages = [page for page in PAGES if page.stem != "how_to_models"]  # test_readme runs that
    code = "; ".join(
        [
            "import doctest, sys",
            f"options = {doctest.NORMALIZE_WHITESPACE}",
            "run = lambda page: doctest.testfile(page, module_relative=False, optionflags=options)",
            "sys.exit(sum(run(page).failed for page in sys.argv[1:]))",
        ]
    )
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, pages)],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=quiet,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for page in pages:
        for script in re.findall(
            r"^```python\n(import.*?)^```", page.read_text("utf8"), re.M | re.S
        ):
            (tmp_path / "script.py").write_text(script)
            subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True, env=quiet)
