"""Pages of the reference: a table of names on each, and a page for each name.

A page lists names in a fence, and they become a table with the first line of each docstring:

    ```{names}
    sweep
    sweeps.Axes
    ```

The pages of names are written to reference/generated/. The class of a result that no page lists
follows the first function that returns it in the table, and has a page, too.
"""

import importlib
import inspect
import itertools
import re
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

REFERENCE = Path(__file__).parents[1] / "reference"
GENERATED = REFERENCE / "generated"
NAMES = re.compile(r"^```\{names\}\n(.*?)^```$", re.M | re.S)
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


def names_of(text: str) -> list[str]:
    """Return the full names that the fences of a page list."""
    return [f"gdjax.{line}" for block in NAMES.findall(text) for line in block.split()]


def listed() -> list[str]:
    """Return the full names in the order of the pages: the public names of gdjax."""
    return [
        name for page in sorted(REFERENCE.glob("*.md")) for name in names_of(page.read_text("utf8"))
    ]


def table(names: list[str]) -> str:
    """Return a table of names, and of the classes of their results, as Markdown."""
    rows = [row for name in names for row in (name, *results().get(name, ()))]
    return TABLE.format(names="\n".join(f"   {row.removeprefix('gdjax.')}" for row in rows))


def expand(text: str) -> str:
    """Return a page of the reference with tables in place of its fences."""
    return NAMES.sub(lambda match: table(names_of(match[0])), text)


def functions_of(value) -> Iterator:
    """Yield a public function itself, or the public methods and properties of a class."""
    if not inspect.isclass(value):
        yield value
        return
    for name, member in vars(value).items():
        if not name.startswith("_") or name == "__call__":
            inner = (getattr(member, part, None) for part in ("fget", "func", "__func__"))
            yield next(filter(None, inner), member)


def parts_of(hint) -> Iterator:
    """Yield an annotation and all parts of it."""
    yield hint
    for part in get_args(hint):
        yield from parts_of(part)


@cache
def results() -> dict[str, list[str]]:
    """Return the names of results' classes that no page lists, by the first name that has them."""
    names = listed()
    known, results = {id(find(name)) for name in names}, {}
    for name in names:
        for function in functions_of(find(name)):
            hint = getattr(function, "__annotations__", {}).get("return")
            if isinstance(hint, str):  # such as "Folder | Bucket", whose classes are defined below
                words = re.findall(r"\w+", hint)
                kinds = [vars(sys.modules[function.__module__]).get(word) for word in words]
            else:
                kinds = [*parts_of(hint)]
            for kind in kinds:
                is_own = inspect.isclass(kind) and kind.__module__.startswith("gdjax")
                if is_own and id(kind) not in known:
                    known.add(id(kind))
                    results.setdefault(name, []).append(f"{kind.__module__}.{kind.__qualname__}")
    return results


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
    files = files_of([*listed(), *itertools.chain(*results().values())])
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
