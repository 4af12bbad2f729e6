"""Figures of single experiments, a file each; `gdjax.plots` has those with more than one caller."""
