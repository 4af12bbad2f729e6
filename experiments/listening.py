"""Handling of Ctrl-C in experiments, installed before the slow imports."""

import sys
from pathlib import Path

from gdjax import interrupts

# The handler is installed only if an experiment is the main program: tests import this module too.
_started = getattr(sys.modules["__main__"], "__file__", None)
if _started and Path(_started).resolve().parent == Path(__file__).resolve().parent:
    interrupts.end_at_ctrl_c()
