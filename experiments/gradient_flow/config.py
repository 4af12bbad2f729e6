"""Settings of the experiment gradient_flow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flow.

    Args:
        target: target s of the product of the two factors.
        start: starting value of both factors.
        unequal: second starting point, with unequal factors, to test the conserved quantity.
        factor_rate: largest learning rate on the two factors.
        factor_time: end time on the two factors.
        data: name of the data set.
        samples: number of images.
        digit_rate: largest learning rate on the digits.
        digit_time: end time on the digits.
        rates: number of learning rates, each half of the previous one.
        times: approximate number of times at which descents and flow are compared.
        fitted: number of the smallest learning rates, which are used to fit the order.
        tolerance: relative tolerance of the flow on the digits; on the factors it is the default
            for float64.
        check: second relative tolerance, used to estimate the error of the flow on the digits.
    """

    target: float = 2.0
    start: float = 0.1
    unequal: tuple[float, float] = (0.3, 1.7)
    factor_rate: float = 0.16
    factor_time: float = 3.2
    data: str = "mnist5k"
    samples: int = 300
    digit_rate: float = 1.6
    digit_time: float = 400.0
    rates: int = 6
    times: int = 25
    fitted: int = 4
    tolerance: float = 1e-8
    check: float = 1e-6
