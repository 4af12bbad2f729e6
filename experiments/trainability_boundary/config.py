"""Settings of the experiment trainability_boundary."""

from dataclasses import dataclass
from typing import Literal

from .conditions import CONDITIONS


@dataclass(frozen=True)
class Config:
    """Conditions, maps of their settings, and one-dimensional cases."""

    conditions: tuple[str, ...] = tuple(CONDITIONS)  # names of the conditions
    steps: int = 100  # number of steps of each run
    record_every: int = 4  # number of steps from one recorded cost to the next
    points: int = 144  # number of grid points along each side of a map
    zooms: int = 4  # number of magnified maps after the first map
    factor: int = 8  # ratio of the width of a map to that of the next map, on a logarithmic scale
    # "richest" places the next map in the window with the longest boundary, "random" around a
    # random boundary cell
    placement: Literal["richest", "random"] = "richest"
    neurons: int = 8  # number of inputs and of hidden neurons in every condition
    # smallest and largest value on both axes of the first map; by default the window of the
    # condition
    window: tuple[float, float] | None = None
    # seeds of data, starting points and random windows; the first is shown in the figures
    seeds: tuple[int, ...] = tuple(range(1, 11))
    # values of e / l^2, each of which defines a one-dimensional case
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1  # number of learning rates of each one-dimensional case
    # smallest and largest learning rate of the one-dimensional cases
    rate_range: tuple[float, float] = (1.0, 1.032)
    rate_steps: int = 1000  # number of steps of each run of the one-dimensional cases
