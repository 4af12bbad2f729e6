"""The results of the experiments as pages of the site.

The page of each experiment, results/<name>/README.md, is copied to docs/gallery/<name>.md when the
site is built. `{{ the results }}` is replaced by one card per experiment, with its figure, question
and answer, in the order and under the headings of results/README.md. If docs/frontier/<name>.md
exists, it is the page of the experiment instead: it explains the background with examples, and
`{{ the answer }}` and `{{ the method }}` are replaced by the page up to its section on the method,
and from there on.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "gallery"
FRONTIER = ROOT / "docs" / "frontier"
MARK = "{{ the results }}"
ANSWER, METHOD = "{{ the answer }}", "{{ the method }}"
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

    @property
    def address(self) -> str:
        """Address of the page in docs/, without suffix."""
        folder = "frontier" if (FRONTIER / f"{self.name}.md").exists() else "gallery"
        return f"{folder}/{self.name}"

    def placed(self) -> str:
        """Return the page with links and figures that are valid in a folder of docs/."""

        def page(match: re.Match) -> str:
            return f"](../{Result(match[1], '').address}.md)"

        text = re.sub(r"\]\(\.\./(\w+)/README\.md\)", page, self.text)
        link = rf"](../../results/{self.name}/\1)"
        return re.sub(r"\]\((?!https?:|#|/|\.\./)([^)]+)\)", link, text)


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
            f":link: {result.address}",
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
        names += [at for result in results if (at := result.address).startswith("gallery/")]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```"])


def merged(name: str, root: Path = ROOT) -> str:
    """Return the page of an experiment with its background, from docs/frontier."""
    result = Result(name, (root / "results" / name / "README.md").read_text("utf8"))
    answer, heading, method = result.placed().partition("## Method\n")
    text = (FRONTIER / f"{name}.md").read_text("utf8").replace(METHOD, heading + method)
    return text.replace(ANSWER, answer[answer.index("# ") :])


def write(folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Write the pages of experiments that have changed, and remove all other files."""
    folder.mkdir(exist_ok=True)
    pages = {
        f"{result.name}.md": result.placed()
        for group in read(root).values()
        for result in group
        if result.address.startswith("gallery/")
    }
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()
    for file, text in pages.items():
        if not (folder / file).exists() or (folder / file).read_text("utf8") != text:
            (folder / file).write_text(text, "utf8")


def _read(app, name, source):
    if MARK in source[0] or ANSWER in source[0]:
        app.env.note_dependency(str(ROOT / "results" / "README.md"))
        source[0] = source[0].replace(MARK, cards())
    if ANSWER in source[0]:
        experiment = name.removeprefix("frontier/")
        app.env.note_dependency(str(ROOT / "results" / experiment / "README.md"))
        source[0] = merged(experiment)


def setup(app):
    app.connect("config-inited", lambda app, config: write())
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
