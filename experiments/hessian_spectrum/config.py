"""Settings of the experiment hessian_spectrum."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Points at which the spectrum is computed, and the accuracy of its computation."""

    data: str = "mnist5k"  # name of the data set
    costs: tuple[str, ...] = ("quadratic", "cross_entropy")  # names of the costs
    learning_rates: tuple[float, ...] = (1.0, 0.3)  # learning rate for each cost
    batch_size: int = 32  # number of images per step
    # numbers of epochs after which the spectrum is computed; the first is 0
    epochs: tuple[int, ...] = (0, 1, 3, 10, 30)
    seeds: int = 6  # number of starting points for each cost
    largest: int = 30  # number of largest eigenvalues that are computed, of H and of G
    smallest: int = 3  # number of smallest eigenvalues that are computed, of H only
    tolerance: float = 1e-3  # tolerance of the residuals, relative to the largest |eigenvalue|
    gap_within: int = 20  # maximum number of eigenvalues above the widest gap
    # numbers of epochs after which density and trace are estimated, for the first cost and the
    # first start
    shown: tuple[int, ...] = (0, 3, 30)
    probes: int = 8  # number of random vectors for each density; a trace uses six times as many
    depth: int = 64  # number of Hessian-vector products per random vector of a density
    # number of training images, taken from the start of the set; None uses all
    samples: int | None = 2000
