"""Figures of single experiments; shared figures are in `gdjax.plots`."""
