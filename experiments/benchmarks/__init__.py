"""Measurements for `speed.py`, relative to a matrix product and other libraries."""
