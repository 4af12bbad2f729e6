"""Interactive pages, made by commands of gdjax while the site is built.

In a page of the site, `{{ live lesson }}` is replaced by the commands that make the interactive
page, and the page itself, and `{{ show lesson }}` by the page alone. The commands run in parallel
with the build, which waits for them at its end, and fails if one of them fails. `{{ lesson 3 }}`
becomes a link to step 3 of the lesson.

    python docs/_extensions/live.py FOLDER

makes the pages and an index in a folder that any server of files can publish, or that opens from a
disk. The pages contain all that they need: they load nothing, and set no cookies.
"""

import html
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gdjax.pages.page import build, read

COMMANDS = {
    "lesson": ["gdjax lesson --out lesson.html"],
    "explore": [
        "gdjax sweep --store runs.zarr --out sweep",
        "gdjax landscape --directions trajectory random eigenvectors --out landscape",
        "gdjax minima --function himmelblau --out minima",
        "gdjax explore runs.zarr --planes landscape/planes.zarr --minima minima/data.zarr "
        "--out explore.html",
    ],
}
LINES = [line for lines in COMMANDS.values() for line in lines]
MARK = re.compile(r"^\{\{ live (\S+) \}\}$", re.MULTILINE)
SHOW = re.compile(r"^\{\{ show (\S+) \}\}$", re.MULTILINE)
STEP = re.compile(r"^\{\{ lesson (\d+) \}\}$", re.MULTILINE)
FOLDER = "live"  # folder of the built site


def shown(name: str) -> str:
    """Return an interactive page and its commands, as Markdown for a page in docs/."""
    if name not in COMMANDS:
        raise ValueError(f"no live page {name!r}: expected one of {', '.join(COMMANDS)}")
    lines = [
        line if len(line) < 80 else line.replace(" --", " \\\n    --") for line in COMMANDS[name]
    ]
    return "\n".join(["```sh", *lines, "```", "", framed(name)])


def framed(name: str) -> str:
    """Return an interactive page as Markdown, and a picture that links to it for phones."""
    place = f"{FOLDER}/{name}.html"
    return "\n".join(
        [
            f"```{{image}} pictures/{name}.png",
            f":alt: gdjax {name}",
            f":target: {place}",
            ":class: still",
            "```",
            "",
            "```{raw} html",
            f'<p><a href="{place}">Open it on a page of its own</a></p>',
            f'<iframe class="live" src="{place}" title="gdjax {name}" loading="lazy"></iframe>',
            "```",
        ]
    )


def linked(step: int, page: str) -> str:
    """Return a link from a page of the site to a step of the lesson's course, as Markdown."""
    title = json.loads(read("lesson/texts/en.json"))[f"course.{step}.title"]
    place = "../" * page.count("/") + f"{FOLDER}/lesson.html#lesson={step}"
    link = f'<a href="{place}">Try it in the lesson: {html.escape(title)}</a>'
    return f"```{{raw}} html\n<p>{link}</p>\n```"


def publish(folder: Path, work: Path) -> None:
    """Write the interactive pages and their index, which are made in another folder."""
    make(work)
    folder.mkdir(parents=True, exist_ok=True)
    for name in COMMANDS:
        (folder / f"{name}.html").write_bytes((work / f"{name}.html").read_bytes())
    build("gdjax", "index.html", {}, styles=("base.css",), scripts=()).save(folder / "index.html")


def make(folder: Path) -> None:
    """Run the commands of all interactive pages in a folder."""
    shutil.rmtree(folder, ignore_errors=True)  # a revised gdjax refuses old stores
    folder.mkdir(parents=True)
    for line in LINES:
        _, *arguments = shlex.split(line)
        done = subprocess.run(
            [sys.executable, "-m", "gdjax", *arguments],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{line}\n{done.stdout}{done.stderr}")


def _read(app, name, source):
    text = MARK.sub(lambda match: shown(match.group(1)), source[0])
    text = SHOW.sub(lambda match: framed(match.group(1)), text)
    source[0] = STEP.sub(lambda match: linked(int(match.group(1)), name), text)


def _begin(app):
    if app.builder.format == "html" and app.config.live_pages:
        work = Path(app.doctreedir) / FOLDER
        app.live = subprocess.Popen(
            [sys.executable, __file__, str(Path(app.outdir) / FOLDER), str(work)],
            stderr=subprocess.PIPE,
            text=True,
        )


def _end(app, exception):
    maker = getattr(app, "live", None)
    if maker is None:
        return
    if exception is not None:
        maker.kill()
    told = maker.communicate()[1]
    if exception is not None:
        return
    if maker.returncode:
        from sphinx.errors import ExtensionError

        raise ExtensionError(f"a live page could not be made:\n{told}")


def setup(app):
    app.add_config_value("live_pages", True, "env", (bool,))
    app.connect("source-read", _read)
    app.connect("builder-inited", _begin)
    app.connect("build-finished", _end)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        publish(*map(Path, [*sys.argv[1:], temporary][:2]))
