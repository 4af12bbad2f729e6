"""Variants compared by experiments, if longer than a line of their config."""
