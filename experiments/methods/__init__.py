"""Computations of single experiments that are too long for their own file."""
