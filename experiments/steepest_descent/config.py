"""Settings of the experiment steepest_descent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Surfaces, and settings of the descents and slopes on them.

    Args:
        functions: names of 2-D test functions.
        side: number of starts along each side of the map.
        steps: number of steps of each descent.
        rates: learning rates of the maps, in units of 2 / (largest eigenvalue at any minimum).
        paths: number of random starts whose paths at the first rate are drawn.
        points: number of random points at which slopes in all directions are measured.
        directions: number of directions, evenly spaced.
        seed: seed of the random starts and points.
    """

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")
    side: int = 200
    steps: int = 1000
    rates: tuple[float, ...] = (0.1, 0.9)
    paths: int = 24
    points: int = 200
    directions: int = 360
    seed: int = 0
