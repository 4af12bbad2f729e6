"""Measurements of `speed.py`, against the machine's rate and other libraries."""
