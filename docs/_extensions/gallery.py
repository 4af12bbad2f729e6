"""The gallery: results/README.md with each experiment's question and command, when it is built."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "{{ the results }}"


def question_and_command(experiment: Path) -> tuple[str, str]:
    """The question that an experiment's docstring asks, and how it is run."""
    text = ast.get_docstring(ast.parse(experiment.read_text("utf8"))) or ""
    if not text:
        raise ValueError(f"{experiment}: expected a docstring that asks a question")
    return text.splitlines()[0], f"python experiments/{experiment.name}"


def results(root: Path = ROOT) -> str:
    """Everything that was found, as Markdown for a page of docs/."""
    text = (root / "results" / "README.md").read_text("utf8")
    parts = re.split(r"^## +(\S+) *\n", text, flags=re.MULTILINE)
    page = []
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        experiment = root / "experiments" / f"{name}.py"
        page.append(f"## {name.replace('_', ' ').capitalize()}\n")
        if experiment.exists():
            question, command = question_and_command(experiment)
            page.append(f"*{question}*\n\n```sh\n{command}\n```\n")
        page.append(re.sub(r"\]\((?!https?:|#|/)([^)]+)\)", r"](../results/\1)", body))
    return "\n".join(page)


def _read(app, name, source):
    if MARK in source[0]:
        app.env.note_dependency(str(ROOT / "results" / "README.md"))
        source[0] = source[0].replace(MARK, results())


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
