"""Equations as MathML, which browsers render without scripts or other files."""

from docutils.nodes import SkipNode
from latex2mathml import converter
from sphinx.errors import ExtensionError


def _inline(self, node):
    self.body.append(mathml(node.astext()))
    raise SkipNode


def _block(self, node):
    equation = mathml(node.astext(), display="block")
    self.body.append(f'<div class="equation">{equation}</div>\n')
    raise SkipNode


def mathml(tex: str, **settings: str) -> str:
    """Return an equation as MathML; the error for an invalid equation contains it."""
    try:
        return converter.convert(tex, **settings)
    except Exception as error:
        raise ExtensionError(f"invalid equation: {tex!r} ({type(error).__name__})") from error


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
