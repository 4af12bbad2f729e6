"""Widget of a page for JupyterLab, VS Code and marimo, by anywidget."""

import anywidget
import traitlets


def widget(html: str, script: str) -> anywidget.AnyWidget:
    """Return a widget that shows a page and receives the positions of its selected runs."""

    class PageWidget(anywidget.AnyWidget):
        """Page in a frame."""

        _esm = script
        html = traitlets.Unicode().tag(sync=True)
        selected = traitlets.List(traitlets.Int()).tag(sync=True)

    return PageWidget(html=html)
