"""Ctrl-C ends an experiment with one line, from before anything is imported that takes long."""

import sys
from pathlib import Path

from gdjax import interrupts

# Only the process of an experiment: tests import experiments, too.
_started = getattr(sys.modules["__main__"], "__file__", None)
if _started and Path(_started).resolve().parent == Path(__file__).resolve().parent:
    interrupts.own()
