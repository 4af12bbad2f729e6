"""Settings of the experiment trainability_boundary."""

from dataclasses import dataclass
from typing import Literal

from .conditions import CONDITIONS


@dataclass(frozen=True)
class Config:
    """Conditions, maps of their settings, and one-dimensional cases.

    Args:
        conditions: names of the conditions.
        steps: number of steps of each run.
        record_every: number of steps from one recorded cost to the next.
        points: number of grid points along each side of a map.
        zooms: number of magnified maps after the first map.
        factor: ratio of the width of a map to that of the next map, on a logarithmic scale.
        placement: "richest" places the next map in the window with the longest boundary, "random"
            around a random boundary cell.
        neurons: number of inputs and of hidden neurons in every condition.
        window: smallest and largest value on both axes of the first map; by default the window of
            the condition.
        seeds: seeds of data, starting points and random windows; the first is shown in the figures.
        roughness: values of e / l^2, each of which defines a one-dimensional case.
        rates: number of learning rates of each one-dimensional case.
        rate_range: smallest and largest learning rate of the one-dimensional cases.
        rate_steps: number of steps of each run of the one-dimensional cases.
    """

    conditions: tuple[str, ...] = tuple(CONDITIONS)
    steps: int = 100
    record_every: int = 4
    points: int = 144
    zooms: int = 4
    factor: int = 8
    placement: Literal["richest", "random"] = "richest"
    neurons: int = 8
    window: tuple[float, float] | None = None
    seeds: tuple[int, ...] = tuple(range(1, 11))
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1
    rate_range: tuple[float, float] = (1.0, 1.032)
    rate_steps: int = 1000
