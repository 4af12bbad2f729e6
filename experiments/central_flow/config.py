"""Settings of the experiment central_flow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows.

    Args:
        rates: learning rates on the published case.
        starts: number of starting points of the published case.
        width: number of neurons in each hidden layer of the published network.
        widths: number of neurons in each hidden layer, for each of the other networks.
        width_rates: learning rates of the other networks.
        width_starts: number of starting points of the other networks.
        samples: number of random samples for the published and the other networks.
        steps: number of steps of each descent.
        digits: number of training images of digits.
        digit_rates: learning rates on the digits.
        digit_starts: number of starting points on the digits.
        digit_steps: number of steps of each descent on the digits.
        eigenvectors: maximum number of eigenvalues held at 2 / eta by the central flow.
        stride: number of steps of descent per interval of the flow, and between records.
        smoothing: standard deviation of the Gaussian, in steps.
        tolerance: relative tolerance of the gradient flow.
    """

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    starts: int = 6
    width: int = 16
    widths: tuple[int, ...] = (4, 32)
    width_rates: tuple[float, ...] = (0.1,)
    width_starts: int = 6
    samples: int = 128
    steps: int = 1000
    digits: int = 100
    digit_rates: tuple[float, ...] = (1.0, 3.5)
    digit_starts: int = 6
    digit_steps: int = 200
    eigenvectors: int = 4
    stride: int = 2
    smoothing: float = 50.0
    tolerance: float = 1e-4
