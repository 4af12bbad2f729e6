"""Progress bars on a terminal and in a notebook, and lines of a log elsewhere.

A bar appears after a delay and disappears when the work is done:

>>> with bar(total=3, unit="run") as shown:
...     shown.update(3)
"""

import importlib.util
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from tqdm import tqdm

DELAY = 2.0  # seconds; shorter work shows no bar
LOG_INTERVAL = 30.0  # seconds between two lines of a log
LINE = "gdjax: {desc}{n_fmt} of {total_fmt} {unit}s, {elapsed} passed, about {remaining} left"


def bar(
    before: str | None = None,
    *,
    waited: Callable[[], float] = float,
    share: Callable[[], float] | None = None,
    **settings: Any,
) -> Any:
    """Return a tqdm progress bar; TQDM_DISABLE=1 disables it in a notebook and in a log.

    Args:
        before: what is done before the first update, such as "compiling".
        waited: function that returns the seconds spent on it so far, which the estimate of the
            remaining time leaves out.
        share: function that returns the completed fraction of the work, without what was
            done earlier, if units differ in it.
        settings: keywords of tqdm: `total`, `unit`, and `delay` in seconds unless it is `DELAY`.
    """
    settings = {"delay": DELAY, "leave": False} | settings
    if not in_notebook():
        return Ticking(before, waited, share, **settings)
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm(**settings)  # a text bar, which every notebook can display
    from tqdm.notebook import tqdm as widget

    return widget(**settings)


class Ticking(tqdm):
    """Bar on a terminal, or lines of a log, which also appear while nothing is updated.

    A first compilation may take a minute, in which tqdm alone would show nothing. The interval of a
    log goes on from one bar to the next.
    """

    # When the last bar of a log ended, and when its last line was due or printed.
    last_log: ClassVar[tuple[float, float]] = (-math.inf, -math.inf)

    def __init__(
        self,
        before: str | None,
        waited: Callable[[], float],
        share: Callable[[], float] | None,
        delay: float | int,
        **settings: Any,
    ):
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        is_off = not self.is_terminal and os.environ.get("TQDM_DISABLE", "") not in ("", "0")
        if not self.is_terminal:
            settings |= {"bar_format": LINE, "mininterval": LOG_INTERVAL}
            now, (closed_at, line_at) = time.monotonic(), self.last_log
            self.line_at = line_at if now - closed_at < LOG_INTERVAL / 3 else now
            delay = max(0, self.line_at + LOG_INTERVAL - now)
        self.before, self.waited, self.share = before, waited, share
        self.stopped = threading.Event()
        if before is not None:
            settings["desc"] = f"{before}: "
        self.ticker: threading.Thread | None = None
        super().__init__(delay=delay, disable=is_off or sys.stderr is None, **settings)
        if not self.disable:
            interval = 1.0 if self.is_terminal else LOG_INTERVAL
            self.ticker = threading.Thread(target=self._tick, args=(delay, interval), daemon=True)
            self.ticker.start()

    def update(self, n: float | int | None = 1) -> bool | None:
        """Count, and no longer show what was done before the first count."""
        if n and self.before is not None:
            self.before = self.desc = None
        if not self.disable:
            self.updated_at = self._time()
        return super().update(n)

    @property
    def format_dict(self) -> dict[str, Any]:
        """State of the bar, with the rate of all work until the last update.

        The moving average of tqdm would count only the time since the last refresh.
        """
        worked = self.updated_at - self.start_t - self.waited() if self.n else 0.0
        rate = self.n / worked if worked > 0 else None
        if self.share is not None and (share := self.share()) < 1:
            left = max(0, (self.total or 0) - self.n)
            rate = left * share / (1 - share) / worked if share > 0 and worked > 0 else None
        return super().format_dict | {"rate": rate}

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        """Draw the bar, or print a line."""
        if self.is_terminal:
            return super().display(msg, pos)
        if not self.stopped.is_set():
            self.line_at = time.monotonic()
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False  # nothing has to be removed later

    def close(self) -> None:
        """Remove the bar."""
        if not self.stopped.is_set() and not self.is_terminal:
            Ticking.last_log = (time.monotonic(), self.line_at)
        self.stopped.set()
        # A thread that still runs while the interpreter ends may abort the process on Python 3.11.
        # A garbage collection may close a bar in the thread itself, and a full pipe may hold it.
        if self.ticker is not None and self.ticker is not threading.current_thread():
            self.ticker.join(timeout=1)
        super().close()

    def _tick(self, delay, interval):
        pause = delay
        while not self.stopped.wait(pause):
            self.refresh()
            self.last_print_n, self.last_print_t = self.n, self._time()
            pause = interval


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
