"""Conversion of docstrings to reStructuredText.

In a docstring, `code` is in single backticks, an indented paragraph is an equation in plain text,
and |w|, w_ and params.* are literal. All of these have other meanings in reStructuredText, so they
are converted before Sphinx processes the docstring.
"""

import importlib
import re

from sphinx.util.nodes import make_refnode

SECTION = re.compile(r"^\s*(Args|Returns|Raises|Examples|Source|Note|Yields):\s*")
MARKS = re.compile(
    r"(`+)(.+?)\1|(\*\*[^*\s][^*]*\*\*|\*[A-Za-z][^*`|]*?[a-z.]\*(?!\w))|([|*])|(\w)_(?=\W|$)"
)


def _escaped(lines):
    def mark(match):
        ticks, code, emphasis, sign, word = match.groups()
        if ticks:
            return f"``{code}``"
        if emphasis:
            return emphasis
        return f"\\{sign}" if sign else f"{word}\\_"

    return MARKS.sub(mark, "\n".join(lines)).split("\n")


def _indent(line):
    return len(line) - len(line.lstrip())


def convert(lines: list[str]) -> list[str]:
    """Return the lines of one docstring, converted to reStructuredText.

    Examples:
        >>> convert(["The norm |g| of `params.*`"])
        ['The norm \\\\|g\\\\| of ``params.*``']
    """
    done, i, section = [], 0, None
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            done.append("")
            i += 1
            continue
        start, depth = i, _indent(line)
        while i < len(lines) and lines[i].strip():
            i += 1
        part = lines[start:i]
        if SECTION.match(line):
            section = depth
            done += part if ">>>" in "".join(part) else _escaped(part)
            continue
        if section is not None and depth <= section:
            section = None
        base = 0 if section is None else section + 4
        code = part[0].lstrip().startswith(">>>")
        bullet = part[0].lstrip().startswith("- ")
        if code:
            done += part
        elif depth > base and not bullet and (not done or not done[-1]) and section is None:
            done += [" " * base + ".. code-block:: text", ""]
            done += [" " * (base + 3) + text[base + 4 :] for text in part]
            done.append("")
        else:
            done += _escaped(part)
    return done


def _process(app, what, name, obj, options, lines):
    # If the default of a field is a function of another library, its docstring is omitted.
    foreign = not str(getattr(obj, "__module__", None) or "gdjax").startswith("gdjax")
    lines[:] = [] if foreign else convert(lines)


def _sign(app, what, name, obj, options, signature, returned):
    # A default that is a function is shown by its name, since its repr is not an expression.
    return signature and re.sub(r"<function (\w+)[^>]*>", r"\1", signature), returned


def _documented(env):
    """Return documented names by the identity of their object, and by their last part."""
    if not hasattr(env, "gdjax_names"):
        by_object, by_name = {}, {}
        for name in env.domains["py"].objects:
            by_object.setdefault(id(_found(name)), name)
            by_name.setdefault(name.rpartition(".")[2], name)
        env.gdjax_names = by_object, by_name
    return env.gdjax_names


def _found(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        parent, _, last = name.rpartition(".")
        return getattr(_found(parent), last, None) if parent else None


def _missing(app, env, node, content):
    """Return a link to the documentation of an object, by any of its names."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    by_object, by_name = _documented(env)
    value = _found(target) if target.startswith("gdjax.") else None
    name = by_object.get(id(value)) if value is not None else by_name.get(target)
    if name is None:
        return None if value is None else content  # an internal type, which is not documented
    entry = env.domains["py"].objects[name]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content)


def setup(app):
    app.connect("missing-reference", _missing)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
