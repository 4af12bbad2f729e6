"""Handling of Ctrl-C by a flag in interruptible computations, else by an exit.

An exception raised by a signal handler appears wherever Python is executing. In a callback of JAX's
garbage collection it is printed and ignored, and the computation continues. The first Ctrl-C
therefore sets a flag that the computation checks, and a command is ended by `os._exit`.

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
from typing import Any

STATUS = 130  # 128 + SIGINT, the exit status that shells report

# Flags of the active `interruptible` contexts, with the handlers that set them.
_open: list[tuple[threading.Event, Any]] = []
_advice = ["run the same command again"]


@contextlib.contextmanager
def interruptible() -> Generator[threading.Event]:
    """Provide a flag that Ctrl-C sets, to stop a computation without loss of results.

    A second Ctrl-C has the usual effect: it raises KeyboardInterrupt, or ends the process of a
    command. Nested contexts share the flag of the outermost one, so that one Ctrl-C ends all of
    them. The flag is never set outside the main thread, where signals cannot be caught, nor in a
    process that ignores Ctrl-C. The caller's handler is restored on exit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    before = signal.getsignal(signal.SIGINT)
    outer = next((flag for flag, handler in _open if handler is before or flag.is_set()), None)
    if outer is not None or before in (None, signal.SIG_IGN):  # None cannot be restored
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


def end_at_ctrl_c() -> None:
    """Make Ctrl-C end this process at once, with a message and status 130.

    Commands call this before any slow import. A library should not call it. A process that ignores
    Ctrl-C continues to ignore it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(_signum, _frame):
    """End the process, which is safe at any time, whereas an exception could be lost."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):  # the signal may have interrupted a print
        sys.stdout.flush()
    os.write(2, f"\n{message()}\n".encode())
    os._exit(STATUS)


def message() -> str:
    """Return the message of an interrupted command."""
    return f"interrupted; {_advice[-1]}"


@contextlib.contextmanager
def resumable(command: str) -> Generator[None]:
    """Make the message of an interrupted command recommend `command` to continue.

    KeyboardInterrupt, which a sweep raises after it has saved its state, becomes status 130.
    """
    _advice.append(f"finished work is kept. Continue with: {command}")
    try:
        yield
    except KeyboardInterrupt:
        print(f"\n{message()}", file=sys.stderr)
        raise SystemExit(STATUS) from None
    finally:
        _advice.pop()
