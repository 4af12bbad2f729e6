"""Pages of results/ on pages of the site.

`{{ the results }}` stands for the pages of all experiments, `{{ the finding of seeds }}` for the
page of one.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "{{ the results }}"
ONE = re.compile(r"^\{\{ the finding of (\w+) \}\}$", re.MULTILINE)


def pages(root: Path) -> dict[str, str]:
    """Return the pages of the experiments by name, as results/README.md lists them."""
    contents = (root / "results" / "README.md").read_text("utf8")
    names = dict.fromkeys(re.findall(r"\]\((\w+)/README\.md\)", contents))
    return {name: (root / "results" / name / "README.md").read_text("utf8") for name in names}


def placed(name: str, page: str, *, to_root: str, to_gallery: str) -> str:
    """Return a page without its title, with links and headings of the page that it stands on.

    Args:
        name: of the experiment.
        page: as it stands in results/.
        to_root: path from the other page to the root of the repository.
        to_gallery: path from the other page to the gallery; empty on the gallery itself.
    """
    body = re.split(r"^# .*\n", page, maxsplit=1, flags=re.MULTILINE)[1]
    body = re.sub(r"^##", "###", body, flags=re.MULTILINE)

    def link(match: re.Match[str]) -> str:
        other = re.fullmatch(r"\.\./(\w+)/README\.md", match[1])
        if other:
            return f"]({to_gallery}#{other[1].replace('_', '-')})"
        return f"]({to_root}/results/{name}/{match[1]})"

    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", link, body).strip() + "\n"


def results(root: Path = ROOT) -> str:
    """Return all pages, as Markdown for a page of docs/."""
    return "\n".join(
        f"## {name.replace('_', ' ').capitalize()}\n\n"
        + placed(name, page, to_root="..", to_gallery="")
        for name, page in pages(root).items()
    )


def finding(name: str, root: Path = ROOT) -> str:
    """Return the page of one experiment, as Markdown for a page of a folder of docs/."""
    found = pages(root)
    if name not in found:
        raise ValueError(f"no finding of {name!r}, expected one of {list(found)}")
    page = placed(name, found[name], to_root="../..", to_gallery="../gallery.md")
    return f"## What was found\n\n{page}"


def _read(app, name, source):
    if MARK in source[0] or ONE.search(source[0]):
        for page in (ROOT / "results").glob("**/README.md"):
            app.env.note_dependency(str(page))
        source[0] = ONE.sub(lambda match: finding(match[1]), source[0])
        source[0] = source[0].replace(MARK, results())


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
