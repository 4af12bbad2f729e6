"""How far work is: a bar on a terminal and in a notebook, nothing where nobody looks.

A bar waits for some seconds before it shows, and is gone when its work is done:

>>> with bar(total=3, unit="run") as shown:
...     shown.update(3)
"""

import importlib.util
import sys
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds: what is done before needs no bar


def bar(*, total: int, unit: str, delay: float | int = DELAY, **more: Any) -> Any:
    """A progress bar as tqdm makes them; TQDM_DISABLE=1 keeps it out of a notebook.

    Args:
        total: how many units there are.
        unit: what they are called.
        delay: seconds before it shows.
        more: as for tqdm.
    """
    settings: dict[str, Any] = {
        "total": total,
        "unit": unit,
        "delay": delay,
        "leave": False,
        **more,
    }
    if not in_notebook():
        return tqdm(disable=None, **settings)  # None: only on a terminal
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm(**settings)  # letters that overwrite each other: every notebook shows them
    from tqdm.notebook import tqdm as widget

    return widget(**settings)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which has no terminal but a reader."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
