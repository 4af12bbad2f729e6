"""Documentation: completeness of the reference, and examples on the pages.

The build checks links and runs the notebooks.
"""

import ast
import doctest
import inspect
import os
import re
import shlex
from pathlib import Path
from unittest.mock import Mock

import gallery
import live
import pytest

import gdjax as gd
from experiments import render
from experiments.benchmarks.timing import PARAMETERS
from gdjax import cli
from tests.processes import python

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# A build generates the pages of docs/gallery.
WRITTEN = sorted(page for page in DOCS.rglob("*.md") if page.parent != gallery.FOLDER)
PAGES = [
    *sorted((DOCS / "contributing").glob("*.md")),
    DOCS / "sharp_bits.md",
    *sorted((DOCS / "how_to").glob("*.md")),
    *sorted((DOCS / "symptoms").glob("*.md")),
    *sorted((DOCS / "frontier").glob("*.md")),
]


def test_the_page_of_commands_lists_all_commands():
    page = (DOCS / "reference" / "commands.md").read_text("utf8")
    assert [name for name in cli.COMMANDS if f'"{name}"' not in page] == []


def fences(page, language):
    """Return the code blocks of a page, including those in lists."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text("utf8"), re.M | re.S)


def calls(page):
    """Yield the calls of gdjax in the text of a page, also within others, as source and tree."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf8"), flags=re.M | re.S)
    for code in re.findall(r"`(gd\.[^`]*\))`", text):
        for node in ast.walk(ast.parse(" ".join(code.split()), mode="eval")):
            if isinstance(node, ast.Call) and ast.unparse(node).startswith("gd."):
                yield ast.unparse(node), node


def test_every_call_in_the_text_matches_the_signature():
    """Arguments may be missing only where `...` stands for them."""
    found = [(page, *call) for page in (ROOT / "README.md", *WRITTEN) for call in calls(page)]
    assert len(found) > 20
    for page, code, call in found:
        positional = [value for value in call.args if ast.unparse(value) != "..."]
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        try:
            function = eval(ast.unparse(call.func), {"gd": gd})
            signature = inspect.signature(function)
            is_whole = positional == call.args and "..." not in keywords.values()
            (signature.bind if is_whole else signature.bind_partial)(*positional, **keywords)
        except (TypeError, AttributeError) as error:
            pytest.fail(f"{page.name}: {code}: {error}")


def scripts(page):
    """Return the Python blocks of a page that are complete programs."""
    return re.findall(r"^```python\n((?:import|from) .*?)^```", page.read_text("utf8"), re.M | re.S)


def test_every_block_of_python_is_a_doctest_or_a_complete_program():
    """Blocks are run by the build (code-cell), as doctests, or as complete programs."""
    for page in [*WRITTEN, ROOT / "README.md"]:
        displayed = fences(page, "python")
        assert not displayed or page in PAGES or page.name == "README.md", page
        for code in displayed:
            assert code.lstrip().startswith(">>>") or code in scripts(page), code
        assert fences(page, "text") == [], page


CELL = re.compile(r"^```\{code-cell\} python\n((?::[^\n]*\n|---\n.*?---\n)*)(.*?)^```", re.M | re.S)
DRAWN = re.compile(r"figure$|gd\.plots?\b|(training|pictures|surfaces|sweeps)\.")


def test_every_figure_of_a_cell_has_alternative_text():
    figures = {}
    for page in WRITTEN:
        for head, code in CELL.findall(page.read_text("utf8")):
            last = ast.parse(code).body[-1]
            if isinstance(last, ast.Expr) and DRAWN.match(ast.unparse(last)):
                text = re.search(r"^mystnb:\n  image:\n    alt: \"(.{10,})\"$", head, re.M)
                figures[page.stem, code] = text and text[1]
    assert len(figures) >= 20
    assert [where for where, text in figures.items() if text is None] == []
    assert len(set(figures.values())) == len(figures)


@pytest.mark.long
def test_the_recipe_for_adamw_finds_the_edge_while_the_rate_is_high():
    """The ratio of preconditioned sharpness to its limit is near 1, and 0 at the last rate."""
    cells = [code for _, code in CELL.findall((DOCS / "recipes.md").read_text("utf8"))]
    number = next(n for n, code in enumerate(cells) if "optax.adamw)" in code)
    curve, _ = cells[number - 1].split("run =")  # without the descent of the recipe before
    shown = "print(ratio[8:20].min(), ratio[8:20].max(), ratio[-1], sep='\\n')"
    output = python("-c", "\n".join((cells[0], curve, cells[number], shown))).stdout
    low, high, last = map(float, output.splitlines()[-3:])
    assert 0.9 < low < high < 1.1
    assert last < 0.05


def test_the_steps_of_the_course_are_linked_in_their_order():
    order = re.findall(
        r"^\d+\. \[.*\]\((\w+\.md)\)", (DOCS / "learn/index.md").read_text("utf8"), re.M
    )
    text = "\n".join((DOCS / "learn" / page).read_text("utf8") for page in order)
    assert list(map(int, live.STEP.findall(text))) == list(range(1, 11))


def shell(page):
    """Yield the arguments of each `gdjax` command in the shell blocks of a page."""
    text = "\n".join(fences(page, "sh")).replace("\\\n", " ")
    for line in re.findall(r"^(?:.*&& *)?(?:\S*uv run \S+ )?gdjax (.*)$", text, re.M):
        yield shlex.split(line.partition(" > ")[0], comments=True)


def named(page):
    """Yield the arguments of each `gdjax` command in the text of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf8"), flags=re.M | re.S)
    for line in re.findall(r"`gdjax\s((?:[a-z]+|--version)\b[^`]*)`", text):
        words = shlex.split(line)
        complete = any(word.startswith("-") for word in words)
        yield words if complete else [*words, "--help"]


def test_every_command_on_the_pages_is_valid(monkeypatch, capsys, tmp_path):
    """Stores on the pages do not exist here."""
    (tmp_path / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    run = Mock()
    for command in cli.COMMANDS.values():
        monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr("gdjax.cli.options.Path", Mock())
    pages = [*WRITTEN, ROOT / "README.md"]
    lines = [line for page in pages for line in (*shell(page), *named(page))]
    lines += [shlex.split(line)[1:] for line in live.LINES]
    refused = {}
    for line in lines:
        try:
            cli.main(line)
        except SystemExit as ended:
            if ended.code:
                refused[" ".join(line)] = capsys.readouterr().err
    assert refused == {}
    assert run.call_count >= 8


def test_the_formula_of_times_gives_those_of_the_experiment():
    """The table of the page has the shares and times that the experiment `speed` measured."""
    page = (DOCS / "how_to/size_and_time.md").read_text("utf8")
    summary = render.summary("speed")
    rate = 1e9 * summary["matrix_product_GFlops"]
    assert f"({rate / 1e9:.0f} GFlop/s" in page
    for name, samples in (("shared_order", 32), ("own_orders", 32), ("whole_set", 5000)):
        work = summary["work"][name]
        seconds = 1e-6 * work.get("us_a_run_step", 0) or 1e-3 * work["ms_a_run_step"]
        expected = 4 * samples * PARAMETERS / (work["share"] * rate)
        assert 2 / 3 < expected / seconds < 4 / 3
        assert f"| {work['share']:.2f} | {60e-3 / seconds:,.0f} |" in page


def test_the_page_links_exactly_the_generated_live_pages():
    page = (DOCS / "see_it_move.md").read_text("utf8")
    assert live.MARK.findall(page) == list(live.COMMANDS)


def test_each_experiment_has_a_card_and_a_page_with_its_figures(tmp_path):
    gallery.write(tmp_path)
    results = [result for group in gallery.read().values() for result in group]
    assert len(results) == len(list((ROOT / "results").glob("*/summary.json")))
    cards = gallery.cards()
    for result in results:
        assert f"::::{{grid-item-card}} {result.question}\n" in cards
        folder, name = result.address.split("/")
        of_gallery = tmp_path / f"{name}.md"
        assert of_gallery.exists() == (folder == "gallery")
        text = gallery.merged(name) if folder == "frontier" else of_gallery.read_text("utf8")
        assert f"**{result.answer}**" in text
        assert "## Limits" in text
        prose = re.sub(r"^---\n.*?^---$|^```.*?^```|^\|.*?$", "", text, flags=re.M | re.S)
        assert len(prose.split()) <= 900, name
        for link in re.findall(r"\]\(\.\./\.\./([^)]*)\)", text):
            assert (ROOT / link).is_file()


@pytest.mark.long
def test_all_doctests_and_scripts_of_the_pages_run(tmp_path):
    """All doctests run in one process, which is faster than one process per page."""
    pages = [page for page in PAGES if page.stem != "before_renting"]  # see `gates/test_kernels.py`
    code = "; ".join(
        [
            "import doctest, sys",
            f"options = {doctest.NORMALIZE_WHITESPACE}",
            "run = lambda page: doctest.testfile(page, module_relative=False, optionflags=options)",
            "sys.exit(sum(run(page).failed for page in sys.argv[1:]))",
        ]
    )
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)}
    python("-c", code, *pages, cwd=tmp_path, env=quiet)
    for page in pages:
        for script in scripts(page) if page.stem != "models" else ():  # see the next test
            if "SLURMCluster" not in script:
                (tmp_path / "script.py").write_text(script)
                python("script.py", cwd=tmp_path, env=quiet)


@pytest.mark.long
def test_examples_on_the_page_about_problem_files_run(tmp_path):
    """Run the blocks of the page in order, including its commands."""
    page = DOCS / "how_to" / "models.md"
    user_defined, table = scripts(page)
    (tmp_path / "mine.py").write_text(user_defined)
    (tmp_path / "table.py").write_text(table)
    lines = list(shell(page))
    assert len(lines) == 3
    for line in lines:
        python("-m", "gdjax", *line, cwd=tmp_path)
    assert "0.031623" in python("table.py", cwd=tmp_path).stdout
    for created in ("sweep/summary.json", "landscape/planes.png", "mine.html"):
        assert (tmp_path / created).is_file()


@pytest.mark.long
def test_the_script_on_the_page_about_slurm_requests_its_resources(monkeypatch):
    """Start only a scheduler and compare its job script; Slurm is not installed."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    (script,) = [code for code in scripts(DOCS / "how_to" / "clusters.md") if "SLURM" in code]
    requested, studied = [], []

    class Slurm(jobqueue.SLURMCluster):
        def scale(self, n=None, jobs=0, **options):
            requested.append((jobs, self.job_script()))

    monkeypatch.setattr(jobqueue, "SLURMCluster", Slurm)
    exec(script, {"study": lambda client, store: studied.append((client.status, store))})
    jobs, text = requested[0]
    assert jobs == 16
    for line in ("-p cpu", "--cpus-per-task=8", "--mem=30G", "-t 02:00:00"):
        assert f"#SBATCH {line}\n" in text
    for part in ("export JAX_NUM_CPU_DEVICES=8\n", "--nthreads 1 "):
        assert part in text
    assert studied == [("running", "/shared/runs.zarr")]
