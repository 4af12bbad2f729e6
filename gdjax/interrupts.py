"""Ctrl-C: a flag around work that can end where nothing is lost, the end of a command elsewhere.

An exception that a signal's handler raises lands wherever Python happens to be; in a callback of
JAX's garbage collection it is printed and forgotten, and the work goes on. So the first Ctrl-C sets
a flag, which the work looks at, and what ends a command's process at once is no exception.

>>> with interruptible() as stop:
...     signal.raise_signal(signal.SIGINT)
...     stop.is_set()
True
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

STATUS = 130  # 128 + SIGINT, what a shell reports

# Flags of the `interruptible` that are open, with the handlers that set them.
_open: list[tuple[threading.Event, Any]] = []
_advice = ["run the same command again"]


@contextmanager
def interruptible() -> Generator[threading.Event]:
    """A flag that Ctrl-C sets, so that work can end where nothing is lost.

    A second Ctrl-C does what the first does without this: it raises KeyboardInterrupt, or ends the
    process of a command. Inside another `interruptible` the flag is that other's, so that one
    Ctrl-C ends all of the work. Outside the main thread, where signals cannot be caught, and in a
    process that ignores Ctrl-C, the flag is never set. The caller's handler is put back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    before = signal.getsignal(signal.SIGINT)
    outer = next((flag for flag, handler in _open if handler is before or flag.is_set()), None)
    if outer is not None or before in (None, signal.SIG_IGN):  # None: Python could not put it back
        yield outer or threading.Event()
        return
    interrupted = threading.Event()

    def handler(_signum, _frame):
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    _open.append((interrupted, handler))
    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
        _open.pop()


def own() -> None:
    """Let Ctrl-C end this process at once, with one line on how to go on and status 130.

    For commands, before they import anything that takes long; never for a library. A process that
    ignores Ctrl-C goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(_signum, _frame):
    """Stores and results bear being left at any moment; an exception could be swallowed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):  # it may have been printing
        sys.stdout.flush()
    os.write(2, f"\n{message()}\n".encode())
    os._exit(STATUS)


def message() -> str:
    """What an interrupted command says."""
    return f"interrupted; {_advice[-1]}"


@contextmanager
def resumable(command: str) -> Generator[None]:
    """Around work that is kept: an interrupted command advises `command` to go on.

    KeyboardInterrupt, which a sweep raises once it has saved its state, becomes status 130.
    """
    _advice.append(f"what was done is kept. Go on with:  {command}")
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{message()}", file=sys.stderr)
        raise SystemExit(STATUS) from None
    finally:
        _advice.pop()
