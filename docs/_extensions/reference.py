"""Pages of the reference: a table of names on each, and a page for each name.

A page lists names in a fence, and they become a table with the first line of each docstring:

    ```{names}
    sweep
    sweeps.Axes
    ```

`plots.landscapes.*` stands for the public functions and classes of a module, and
`{{ the rest of gdjax.sweeps }}` for the public names of a package that no page lists, so that new
names are documented automatically. The pages of names are written to reference/generated/.
"""

import importlib
import inspect
import re
import types
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "reference"
GENERATED = REFERENCE / "generated"
NAMES = re.compile(r"^```\{names\}\n(.*?)^```$", re.M | re.S)
REST = re.compile(r"^\{\{ the rest of (\S+) \}\}$", re.M)
TABLE = """```{{eval-rst}}
.. currentmodule:: gdjax

.. autosummary::
   :nosignatures:
   :toctree: generated

{names}
```"""


def find(name: str):
    """Return the object of a dotted name; a function is preferred to the module of its name."""
    parent, _, last = name.rpartition(".")
    owner = find(parent) if parent else None
    if hasattr(owner, last):
        return getattr(owner, last)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return getattr(importlib.import_module(parent), last)  # the package has the function
    return importlib.import_module(name)


def members(module: types.ModuleType) -> list[str]:
    """Return the functions and classes that a module defines and documents, in their order."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
        and inspect.getdoc(value)
    ]


def names_of(text: str) -> list[str]:
    """Return the full names that the fences of a page list."""
    lines = [f"gdjax.{line}" for block in NAMES.findall(text) for line in block.split()]
    alone = {id(find(line)) for line in lines if not line.endswith(".*")}
    names = []
    for line in lines:
        if not line.endswith(".*"):
            names.append(line)
            continue
        module = find(line.removesuffix(".*"))
        names += [
            f"{module.__name__}.{name}"
            for name in members(module)
            if id(getattr(module, name)) not in alone
        ]
    return names


def rest_of(package: str, known: set[int]) -> list[str]:
    """Return the full names in a package that no page lists; of modules, their members."""
    names = []
    for name in find(package).__all__:
        value = getattr(find(package), name)
        if id(value) in known or name.startswith("__"):
            continue
        if not isinstance(value, types.ModuleType):
            names.append(f"{package}.{name}")
        elif not hasattr(value, "__all__") and name != "cli":
            names += [
                f"{package}.{name}.{member}"
                for member in members(value)
                if id(getattr(value, member)) not in known
            ]
    return names


def documented(text: str) -> set[int]:
    """Return the identities of the objects that an expanded page documents."""
    return {id(find(name)) for name in listed(text)}


def table(names: list[str]) -> str:
    """Return a table of names as Markdown."""
    return TABLE.format(names="\n".join(f"   {name.removeprefix('gdjax.')}" for name in names))


def expand(text: str) -> str:
    """Return a page of the reference with tables in place of its fences and marks."""

    def tables(text):
        return NAMES.sub(lambda match: table(names_of(match[0])), text)

    def rest(match):
        pages = "\n".join(page.read_text("utf8") for page in sorted(REFERENCE.glob("*.md")))
        names = rest_of(match[1], documented(tables(pages)))
        return f"## More\n\n{table(names)}" if names else ""

    return REST.sub(rest, tables(text))


def listed(text: str) -> list[str]:
    """Return the full names in the tables of an expanded page."""
    tables = re.findall(r"^   :toctree: generated\n\n(.*?)^```", text, re.M | re.S)
    return [f"gdjax.{name}" for block in tables for name in block.split()]


def page_of(name: str) -> str:
    """Return the page of one name as reStructuredText."""
    value = find(name)
    title = name.removeprefix("gdjax.")
    lines = [title, "=" * len(title), "", ".. currentmodule:: gdjax", ""]
    if inspect.isclass(value):
        parts = [
            part
            for part, member in vars(value).items()
            if not part.startswith("_")
            and (inspect.isroutine(member) or _is_property(member))
            and inspect.getdoc(member)
        ]
        if len(parts) > 1:
            lines += [".. autosummary::", "   :nosignatures:", ""]
            lines += [*(f"   ~{name.removeprefix('gdjax.')}.{part}" for part in parts), ""]
        lines += [f".. autoclass:: {name}", "   :members:"]
    else:
        kind = "function" if callable(value) else "data"
        lines += [f".. auto{kind}:: {name}", *["   :no-value:"] * (kind == "data")]
    return "\n".join(lines) + "\n"


def _is_property(member) -> bool:
    return isinstance(member, property) or type(member).__name__ == "cached_property"


def files_of(names: list[str]) -> dict[str, str]:
    """Return a file name for each name, unique also on file systems that ignore case."""
    files, taken = {}, set()
    for name in sorted(names, reverse=True):
        files[name] = f"{name}-class" if name.lower() in taken else name
        taken.add(name.lower())
    return files


def write(folder: Path = GENERATED) -> dict[str, str]:
    """Write the pages that have changed, remove others, and return the file of each name."""
    folder.mkdir(exist_ok=True)
    pages = [expand(page.read_text("utf8")) for page in sorted(REFERENCE.glob("*.md"))]
    files = files_of([name for page in pages for name in listed(page)])
    for path in folder.iterdir():
        if path.stem not in files.values():
            path.unlink()
    for name, file in files.items():
        path, text = folder / f"{file}.rst", page_of(name)
        if not path.exists() or path.read_text("utf8") != text:
            path.write_text(text, "utf8")
    return files


def _begin(app, config):
    config.autosummary_filename_map = write()


def _read(app, name, source):
    if name.startswith("reference/") and "/generated/" not in name:
        source[0] = expand(source[0])


def _skip(app, what, name, value, skip, options):
    # The fields of a NamedTuple are documented under Args of its docstring.
    return True if type(value).__name__ == "_tuplegetter" else None


def _add_anchors(app, doctree):
    """Add the anchors to which pages with source code link back.

    `viewcode` may name an object after any of the packages around the module that defines it.
    """
    from sphinx.addnodes import desc_signature
    from sphinx.ext import viewcode

    for signature in doctree.findall(desc_signature):
        module, name = signature.get("module"), signature.get("fullname")
        defined = (module and name and viewcode._get_full_modname(module, name)) or ""
        packages = defined.split(".")
        anchors = [".".join([*packages[: i + 1], name]) for i in range(len(packages)) if defined]
        signature["ids"] += [anchor for anchor in anchors if anchor not in signature["ids"]]


def setup(app):
    app.connect("doctree-read", _add_anchors)
    app.connect("config-inited", _begin)
    app.connect("source-read", _read)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
