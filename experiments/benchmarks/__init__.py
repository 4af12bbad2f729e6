"""Measurements of `speed.py`, relative to a matrix product and to other libraries."""
