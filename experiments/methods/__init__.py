"""Computations of single experiments, a file for each that needs more than a page."""
