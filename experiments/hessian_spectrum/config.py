"""Settings of the experiment hessian_spectrum."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Points at which the spectrum is computed, and the accuracy of its computation.

    Args:
        data: name of the data set.
        costs: names of the costs.
        learning_rates: learning rate for each cost.
        batch_size: number of images per step.
        epochs: numbers of epochs after which the spectrum is computed; the first is 0.
        seeds: number of starting points for each cost.
        largest: number of largest eigenvalues that are computed, of H and of G.
        smallest: number of smallest eigenvalues that are computed, of H only.
        tolerance: tolerance of the residuals, relative to the largest |eigenvalue|.
        gap_within: maximum number of eigenvalues above the widest gap.
        shown: numbers of epochs after which density and trace are estimated, for the first cost and
            the first start.
        probes: number of random vectors for each density; a trace uses six times as many.
        depth: number of Hessian-vector products per random vector of a density.
        samples: number of training images, taken from the start of the set; None uses all.
    """

    data: str = "mnist5k"
    costs: tuple[str, ...] = ("quadratic", "cross_entropy")
    learning_rates: tuple[float, ...] = (1.0, 0.3)
    batch_size: int = 32
    epochs: tuple[int, ...] = (0, 1, 3, 10, 30)
    seeds: int = 6
    largest: int = 30
    smallest: int = 3
    tolerance: float = 1e-3
    gap_within: int = 20
    shown: tuple[int, ...] = (0, 3, 30)
    probes: int = 8
    depth: int = 64
    samples: int | None = 2000
