"""Nothing public is missing: what no page of the reference names is put where its package belongs.

A page says `{{ the rest of gdjax.sweeps }}`; when it is built, directives stand there for the names
that the package hands out and no page has, so that a new name is documented on the day it is new.
"""

import importlib
import inspect
import re
import types
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "reference"
REST = re.compile(r"^\{\{ the rest of (\S+) \}\}$", re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. auto(function|class|data|module):: (\S+)", re.MULTILINE)


def found(name: str):
    """What a dotted name stands for: a function before the module of its name."""
    parent, _, last = name.rpartition(".")
    owner = found(parent) if parent else None
    return getattr(owner, last) if hasattr(owner, last) else importlib.import_module(name)


def documented(text: str) -> set[int]:
    """Identities of all objects that directives name, members of modules included."""
    known = set()
    for kind, name in DIRECTIVE.findall(text):
        value = found(name)
        known.add(id(value))
        if kind == "module":
            known |= {id(member) for member in vars(value).values() if inspect.getdoc(member)}
    return known


def rest_of(package: str, known: set[int]) -> str:
    """Directives for the names of a package that are not known; empty where there are none."""
    lines = []
    for name in found(package).__all__:
        value = getattr(found(package), name)
        if id(value) in known or name.startswith("__"):
            continue
        if isinstance(value, types.ModuleType):
            if not hasattr(value, "__all__") and name != "cli":
                lines += [f".. automodule:: {package}.{name}", "   :members:", ""]
        elif inspect.isclass(value):
            lines += [f".. autoclass:: {package}.{name}", "   :members:", ""]
        else:
            kind = "function" if callable(value) else "data"
            lines += [f".. auto{kind}:: {package}.{name}", ""]
    return "\n".join(["## More", "", "```{eval-rst}", *lines, "```"]) if lines else ""


def expanded(text: str) -> str:
    """A page of the reference as it is built."""
    if not REST.search(text):
        return text
    known = documented("\n".join(page.read_text("utf8") for page in REFERENCE.glob("*.md")))
    return REST.sub(lambda match: rest_of(match.group(1), known), text)


def _read(app, name, source):
    source[0] = expanded(source[0])


def setup(app):
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
