"""Links into the documentation of other libraries, for a build without network.

`docs/inventories.txt` lists the names of other libraries that our pages mention, each with its kind
and its address. They are written as the inventories that intersphinx reads.
"""

import zlib
from pathlib import Path

LIST = Path(__file__).parents[1] / "inventories.txt"


def read(path: Path = LIST) -> dict[str, tuple[str, list[str]]]:
    """Return the address of each project, and the lines of its inventory (version 2)."""
    projects: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in path.read_text("utf8").splitlines():
        if line.startswith("["):
            project, address = line.split()
            projects[project.strip("[]")] = (address, lines := [])
        elif line and not line.startswith("#"):
            name, kind, location = line.split()
            lines.append(f"{name} py:{kind} 1 {location} -")
    return projects


def inventory(project: str, lines: list[str]) -> bytes:
    """Return the file objects.inv of a project."""
    head = [
        "# Sphinx inventory version 2",
        f"# Project: {project}",
        "# Version:",
        "# The remainder of this file is compressed using zlib.",
    ]
    return "\n".join([*head, ""]).encode() + zlib.compress("\n".join([*lines, ""]).encode())


def _begin(app, config):
    folder = Path(app.doctreedir) / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    for project, (address, lines) in read().items():
        path = folder / f"{project}.inv"
        path.write_bytes(inventory(project, lines))
        config.intersphinx_mapping[project] = (address, (str(path),))


def setup(app):
    app.setup_extension("sphinx.ext.intersphinx")
    app.connect("config-inited", _begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
