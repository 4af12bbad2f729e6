"""Equations as MathML, which browsers draw themselves: no script, nothing from elsewhere."""

from latex2mathml.converter import convert


def _inline(self, node):
    self.body.append(convert(node.astext()))
    raise_skip()


def _block(self, node):
    tex = node.astext()
    self.body.append(f'<div class="equation">{convert(tex, display="block")}</div>\n')
    raise_skip()


def raise_skip():
    """The node's text has been written already."""
    from docutils.nodes import SkipNode

    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
