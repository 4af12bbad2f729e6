"""Texts in figures."""

from gdjax.statistics import Interval


def with_ends(interval: Interval) -> str:
    """Return an estimate with the ends of its interval.

    >>> with_ends(Interval(0.5, 0.25, 1.0, 0.95, 8))
    '0.50 (0.25 to 1.00)'
    """
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
