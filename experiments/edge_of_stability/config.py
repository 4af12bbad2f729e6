"""Settings of the experiment edge_of_stability."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded.

    Args:
        rates: learning rates of plain descent on the Chebyshev points.
        steps: number of steps of plain descent on the Chebyshev points.
        heavy_rates: learning rates with heavy-ball momentum.
        nesterov_rates: learning rates with Nesterov's momentum.
        momentum: coefficient of both kinds of momentum.
        momentum_steps: number of steps with both kinds of momentum.
        seeds: number of starting points of each descent on the Chebyshev points.
        data: name of the data set of digits.
        samples: number of training images of digits; None uses all.
        digit_rates: learning rates on the digits, with sigmoids and with their tangents as outputs.
        digit_steps: number of steps on the digits.
        digit_seeds: number of starting points on the digits.
        records: approximate number of records of each descent. An odd number of steps between
            records resolves the oscillation of period 2 of full-batch descent on the digits.
        tolerance: relative tolerance of the computed sharpness.
    """

    rates: tuple[float, ...] = (0.025, 0.03, 0.04, 0.06)
    steps: int = 40_000
    heavy_rates: tuple[float, ...] = (0.03, 0.04, 0.05, 0.06)
    nesterov_rates: tuple[float, ...] = (0.01, 0.015, 0.02, 0.03)
    momentum: float = 0.9
    momentum_steps: int = 12_000
    seeds: int = 8
    data: str = "mnist5k"
    samples: int | None = 1000
    digit_rates: tuple[float, ...] = (1.0, 3.5, 5.0)
    digit_steps: int = 1_500
    digit_seeds: int = 8
    records: int = 100
    tolerance: float = 0.01
