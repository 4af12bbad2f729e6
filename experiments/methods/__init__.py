"""Computations of the experiments, in modules separate from their settings."""
