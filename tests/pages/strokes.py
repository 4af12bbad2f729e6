"""Conversion of an image of a digit to pen strokes, by thinning its lines."""

import numpy as np

AROUND = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]  # clockwise


def thinned(ink: np.ndarray) -> np.ndarray:
    """Thin an image to lines of one pixel without breaking them.

    Zhang and Suen (1984), Communications of the ACM 27(3), 236-239. No ink is at the border.
    """
    ink = ink.copy()
    while True:
        before = ink.sum()
        for first, second in [((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))]:
            p = np.array([np.roll(ink, (-i, -j), (0, 1)) for i, j in AROUND])
            begins = (~p & np.roll(p, -1, 0)).sum(0)
            rim = (begins == 1) & (p.sum(0) >= 2) & (p.sum(0) <= 6)
            ink &= ~(rim & ~p[list(first)].all(0) & ~p[list(second)].all(0))
        if ink.sum() == before:
            return ink


def strokes(image: np.ndarray, threshold: int = 100) -> list[list[tuple[float, float]]]:
    """Return the center lines of a digit, as fractions of width and height."""
    side = len(image)
    rest = {tuple(at) for at in np.argwhere(thinned(np.pad(image > threshold, 1)))}
    joined = {at: [near for near in neighbors(at) if near in rest] for at in rest}
    remaining = {frozenset((at, near)) for at in rest for near in joined[at]}
    drawn = [[at] for at in rest if not joined[at]]
    while remaining:
        # A stroke starts at the end of a line, if there is one.
        open_ends = [at for at in rest if sum(at in pair for pair in remaining) == 1]
        at = min(open_ends) if open_ends else min(min(remaining, key=min))
        line = [at]
        while onward := [near for near in joined[at] if frozenset((at, near)) in remaining]:
            remaining.remove(frozenset((at, onward[0])))
            at = onward[0]
            line.append(at)
        drawn.append(line)
    return [[((x - 0.5) / side, (y - 0.5) / side) for y, x in line] for line in drawn]


def neighbors(at):
    """Return the neighbors of a pixel; those that share a side are first."""
    near = [(at[0] + i, at[1] + j) for i, j in AROUND]
    return near[::2] + near[1::2]
