"""Settings of the experiment catapult."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, including those with one weight per layer, and their learning rates."""

    # smallest and largest learning rate times k at the start, and number of values
    shares: tuple[float, float, int] = (0.25, 16.0, 64)
    widths: tuple[int, ...] = (64, 512)  # numbers of hidden neurons m
    starts: int = 12  # number of starting points of each network
    # number of examples, and of inputs, in the second case; the first case has one of each
    examples: int = 16
    steps: int = 150  # number of steps of each descent of a network
    # rates times k of the descents to draw; the nearest values of the sweep are used
    shown: tuple[float, ...] = (1.0, 2.5, 3.0, 3.5)
    # smallest and largest learning rate of the single weights, and number of rates
    rates: tuple[float, float, int] = (0.9, 2.0, 131_072)
    weight: float = 0.35  # starting value of the single weights
    weight_steps: int = 1300  # number of steps of the single weights
    # number of steps of the single weights from one record to the next, a prime number, so that it
    # is unlikely to be a multiple of their period
    recorded: int = 11
    kept: int = 100  # number of final records that are evaluated
