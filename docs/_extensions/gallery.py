"""What was found, where a page asks for it, when the site is built: results/README.md.

`{{ the results }}` stands for all of it, with each experiment's question and command;
`{{ the finding of seeds }}` for the section of one experiment, with its command.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "{{ the results }}"
ONE = re.compile(r"^\{\{ the finding of (\w+) \}\}$", re.MULTILINE)


def question_and_command(experiment: Path) -> tuple[str, str]:
    """The question that an experiment's docstring asks, and how it is run."""
    text = ast.get_docstring(ast.parse(experiment.read_text("utf8"))) or ""
    if not text:
        raise ValueError(f"{experiment}: expected a docstring that asks a question")
    return text.splitlines()[0], f"python experiments/{experiment.name}"


def sections(root: Path) -> dict[str, str]:
    """Sections of results/README.md by their experiments."""
    text = (root / "results" / "README.md").read_text("utf8")
    parts = re.split(r"^## +(\S+) *\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def placed(section: str, results: str) -> str:
    """A section whose pictures are found from the page that it stands on."""
    return re.sub(r"\]\((?!https?:|#|/)([^)]+)\)", rf"]({results}/\1)", section)


def results(root: Path = ROOT) -> str:
    """Everything that was found, as Markdown for a page of docs/."""
    page = []
    for name, section in sections(root).items():
        experiment = root / "experiments" / f"{name}.py"
        page.append(f"## {name.replace('_', ' ').capitalize()}\n")
        if experiment.exists():
            question, command = question_and_command(experiment)
            page.append(f"*{question}*\n\n```sh\n{command}\n```\n")
        page.append(placed(section, "../results"))
    return "\n".join(page)


def finding(name: str, root: Path = ROOT) -> str:
    """What one experiment found, as Markdown for a page of a folder of docs/."""
    found = sections(root)
    if name not in found:
        raise ValueError(f"no finding of {name!r}, expected one of {list(found)}")
    _, command = question_and_command(root / "experiments" / f"{name}.py")
    return f"## What was found\n\n```sh\n{command}\n```\n{placed(found[name], '../../results')}"


def _read(app, name, source):
    if MARK in source[0] or ONE.search(source[0]):
        app.env.note_dependency(str(ROOT / "results" / "README.md"))
        source[0] = ONE.sub(lambda match: finding(match[1]), source[0])
        source[0] = source[0].replace(MARK, results())


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
