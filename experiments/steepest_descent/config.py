"""Settings of the experiment steepest_descent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Surfaces, and settings of the descents and slopes on them."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")  # names of 2-D test functions
    side: int = 200  # number of starts along each side of the map
    steps: int = 1000  # number of steps of each descent
    # learning rates of the maps, in units of 2 / (largest eigenvalue at any minimum)
    rates: tuple[float, ...] = (0.1, 0.9)
    paths: int = 24  # number of random starts whose paths at the first rate are drawn
    points: int = 200  # number of random points at which slopes in all directions are measured
    directions: int = 360  # number of directions, evenly spaced
    seed: int = 0  # seed of the random starts and points
