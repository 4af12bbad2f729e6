"""The results of the experiments as pages of the site.

The page of each experiment, results/<name>/README.md, is copied to docs/gallery/<name>.md when the
site is built. `{{ the results }}` is replaced by one card per experiment, with its figure, question
and answer, in the order and under the headings of results/README.md. `{{ the finding of seeds }}`
is replaced by the answer and the figure of one experiment.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery"
MARK = "{{ the results }}"
ONE = re.compile(r"^\{\{ the finding of (\w+) \}\}$", re.M)
PICTURE = re.compile(r"!\[([^]]*)\]\((?!https?:)([^)]+)\)")


@dataclass(frozen=True)
class Result:
    """The page of one experiment.

    Args:
        name: name of the experiment.
        text: page of the experiment, as Markdown.
    """

    name: str
    text: str

    def _paragraph(self, word: str) -> str:
        match = re.search(rf"^\*\*{word}\.\*\* (.*?)\n\n", self.text, re.M | re.S)
        if match is None:
            raise ValueError(f"results/{self.name}/README.md: expected a line **{word}.** ...")
        return " ".join(match[1].split())

    @property
    def title(self) -> str:
        """Title of the page."""
        return self.name.replace("_", " ").capitalize()

    @property
    def question(self) -> str:
        """Question of the experiment."""
        return self._paragraph("Question")

    @property
    def answer(self) -> str:
        """Answer of the experiment."""
        return self._paragraph("Answer").strip("*")

    @property
    def measured_on(self) -> str:
        """Networks, data and starts of the experiment."""
        return self._paragraph("Measured on")

    @property
    def verdict(self) -> str:
        """Verdict on the answer."""
        return self._paragraph("Verdict").rstrip(".").capitalize()

    @property
    def picture(self) -> tuple[str, str]:
        """Alternative text and file of the first figure."""
        match = PICTURE.search(self.text)
        if match is None:
            raise ValueError(f"results/{self.name}/README.md: expected a figure")
        return match[1], match[2]

    def placed(self, results: str) -> str:
        """Return the page with links and figures that are valid on a page of the site."""
        link = rf"]({results}/{self.name}/\1)"
        text = re.sub(r"\]\(\.\./(\w+)/README\.md\)", r"](\1.md)", self.text)
        return re.sub(r"\]\((?!https?:|#|/|\w+\.md)([^)]+)\)", link, text)


def read(root: Path = ROOT) -> dict[str, list[Result]]:
    """Return the pages of all experiments by the headings of results/README.md, in their order."""
    text = (root / "results" / "README.md").read_text("utf8")
    groups: dict[str, list[Result]] = {}
    for part in re.split(r"^## +", text, flags=re.M)[1:]:
        heading, _, rest = part.partition("\n")
        names = dict.fromkeys(re.findall(r"\]\((\w+)/README\.md\)", rest))
        groups[heading.strip()] = [
            Result(name, (root / "results" / name / "README.md").read_text("utf8"))
            for name in names
        ]
    return groups


def card(result: Result) -> str:
    """Return a card that links to the page of an experiment, as Markdown."""
    alt, file = result.picture
    return "\n".join(
        [
            f"::::{{grid-item-card}} {result.question}",
            f":img-top: ../results/{result.name}/{file}",
            f":img-alt: {alt}",
            f":link: gallery/{result.name}",
            ":link-type: doc",
            "",
            result.answer,
            ":::{card-footer}",
            f"{result.verdict}: {result.measured_on}",
            ":::",
            "::::",
        ]
    )


def cards(root: Path = ROOT) -> str:
    """Return the cards of all experiments, as Markdown for a page directly in docs/."""
    lines, names = [], []
    for heading, results in read(root).items():
        lines += [f"## {heading}", "", ":::::{grid} 1 1 2 2", ":gutter: 3", ""]
        lines += [f"{card(result)}\n" for result in results]
        lines += [":::::", ""]
        names += [f"gallery/{result.name}" for result in results]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```"])


def finding(name: str, root: Path = ROOT) -> str:
    """Return the answer of one experiment, as Markdown for a page in a folder of docs/."""
    results = {result.name: result for group in read(root).values() for result in group}
    if name not in results:
        raise ValueError(f"no experiment {name!r}, expected one of {list(results)}")
    alt, file = results[name].picture
    return "\n".join(
        [
            "## Result",
            "",
            f"**{results[name].answer}**",
            "",
            f"![{alt}](../../results/{name}/{file})",
            "",
            f"All numbers, how they were measured, and what would have refuted this: "
            f"[{results[name].title}](../gallery/{name}.md).",
            "",
            f"```sh\npython -m experiments.{name}\n```",
        ]
    )


def write(folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Write the pages of experiments that have changed, and remove all other files."""
    folder.mkdir(exist_ok=True)
    pages = {
        f"{result.name}.md": result.placed("../../results")
        for group in read(root).values()
        for result in group
    }
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for file, text in pages.items():
        if not (folder / file).exists() or (folder / file).read_text("utf8") != text:
            (folder / file).write_text(text, "utf8")


def _read(app, name, source):
    if MARK in source[0] or ONE.search(source[0]):
        app.env.note_dependency(str(ROOT / "results" / "README.md"))
        source[0] = ONE.sub(lambda match: finding(match[1]), source[0])
        source[0] = source[0].replace(MARK, cards())


def setup(app):
    app.connect("config-inited", lambda app, config: write())
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
