"""Progress bars on a terminal and in a notebook; none elsewhere.

A bar appears after a delay and disappears when the work is done:

>>> with bar(total=3, unit="run") as shown:
...     shown.update(3)
"""

import importlib.util
import sys
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds; shorter work shows no bar


def bar(**settings: Any) -> Any:
    """Return a tqdm progress bar; TQDM_DISABLE=1 disables it in a notebook.

    Args:
        settings: keywords of tqdm: `total`, `unit`, and `delay` in seconds unless it is `DELAY`.
    """
    settings = {"delay": DELAY, "leave": False} | settings
    if not in_notebook():
        return tqdm(disable=None, **settings)  # None shows the bar only on a terminal
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm(**settings)  # a text bar, which every notebook can display
    from tqdm.notebook import tqdm as widget

    return widget(**settings)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
