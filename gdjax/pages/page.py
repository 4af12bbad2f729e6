"""Self-contained HTML files with scripts, styles and data.

    page = frame(styles, markup, data, scripts)

Scripts are plain JavaScript on canvas and SVG, without a plotting library: apart from their data,
pages have a few hundred kilobytes instead of five megabytes; they require neither WebGL nor `eval`,
and all figures can be operated by keyboard.

Content of a store is untrusted data: it is embedded as JSON in which tags are escaped, and scripts
insert it as text only. The content security policy of the page allows only its script and its style
sheet, by their hashes, and the worker of a page that has one, so injected code can neither run nor
access a network.
"""

import base64
import hashlib
import html
import json
import posixpath
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gdjax.base.array_file import write_file
from gdjax.base.errors import GdjaxError, printable

# Types that JavaScript reads from memory directly; other types are converted to one of these.
KINDS = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "|u1"}


@dataclass(frozen=True)
class Page:
    """HTML page; a notebook displays it as the last value of a cell.

    Args:
        html: content of the whole file.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file atomically, and return its path."""
        file = Path(path)
        try:
            write_file(file, self.html.encode())
        except OSError as error:
            raise GdjaxError(
                f"{printable(file)}: could not be written ({error.strerror or error}); free some "
                f"space or choose another file"
            ) from error
        return file

    def _repr_html_(self) -> str:
        frame = "width:100%;height:48rem;border:0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{frame}"></iframe>'

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters; save it, or show it in a notebook)"


def build(
    title: str,
    markup: str,
    data: Mapping[str, Any],
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    worker: str | None = None,
) -> Page:
    """Return a page built from data and resources of this package.

    Args:
        title: title of the window; it is escaped.
        markup: name of the HTML file with the body.
        data: JSON-serializable values and arrays; their text need not be trusted.
        styles: names of style sheets, in order.
        scripts: names of scripts, in order; they are bundled with their imports in one scope.
        worker: name of the script of a worker, which is added to the data as `worker`, deflated.
    """
    style = "\n".join(read(name) for name in styles)
    script = bundle(scripts)
    workers = [] if worker is None else ["worker-src blob:"]
    if worker is not None:
        data = {**data, "worker": deflated(bundle([worker]))}
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{_digest(script)}'",
            f"style-src 'sha256-{_digest(style)}'",
            *workers,
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return Page(
        "<!doctype html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>{style}</style>\n</head>\n<body>\n"
        f"{read(markup)}\n"
        f'<script type="application/json" id="data">{island(data)}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def read(name: str) -> str:
    """Return the text of a resource file of this package."""
    return (resources.files("gdjax.pages") / "resources" / name).read_text(encoding="utf-8")


# Modules import names in braces, one statement per line, and export in declarations.
_IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";\n', re.MULTILINE)
# Comments on lines of their own, which are a tenth of the scripts, are left out.
_COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async |function |const |let |class )", re.MULTILINE)


def bundle(scripts: Sequence[str]) -> str:
    """Return modules and their imports as one script in one scope, imports first."""
    modules: dict[str, str] = {}

    def add(name):
        if name in modules:
            return
        modules[name] = ""
        source = read(name)
        for imported in _IMPORT.findall(source):
            add(posixpath.normpath(posixpath.join(posixpath.dirname(name), imported)))
        del modules[name]  # moves the module after its imports
        modules[name] = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", source)))

    for name in scripts:
        add(name)
    return '"use strict";\n' + "\n".join(modules.values())


def deflated(content: np.ndarray | str) -> str:
    """Return an array of bytes, or a text in UTF-8, compressed by zlib, as base64."""
    is_text = isinstance(content, str)
    raw = content.encode() if is_text else np.ascontiguousarray(content, np.uint8).tobytes()
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def island(data: Any) -> str:
    r"""Return data as JSON in which `<` is escaped, for embedding in HTML.

    Examples:
        >>> island({"name": "</script>", "cost": np.array([0.5], "f4")})
        '{"name":"\\u003c/script>","cost":{"kind":"f4","shape":[1],"bytes":"AAAAPw=="}}'
    """
    text = json.dumps(data, default=_plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value)} cannot be embedded in a page")
    kind = value.dtype.str[1:]
    if kind not in KINDS:
        kind = "f8" if value.dtype.kind == "f" else "i4"
    raw = np.ascontiguousarray(value, dtype=KINDS[kind]).tobytes()
    return {
        "kind": kind,
        "shape": list(value.shape),
        "bytes": base64.b64encode(raw).decode("ascii"),
    }


def _digest(text: str) -> str:
    """Return the SHA-256 digest in base64, as in a content security policy."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
