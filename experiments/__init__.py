"""Experiments, one folder for each question, run with `python -m experiments.NAME`."""

import sys

from gdjax.base import interrupts

# While Python locates the module given by -m, this package is imported before all slow imports.
if sys.argv[0] == "-m":
    interrupts.end_at_ctrl_c()
