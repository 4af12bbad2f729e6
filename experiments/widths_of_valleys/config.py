"""Settings of the experiment widths_of_valleys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Network, sets of images, and measures of width.

    Args:
        data: name of the data set.
        sets: number of disjoint sets of training images; sets without some digit are skipped.
        images: number of training images in each set.
        hidden: number of neurons in the hidden layer.
        decay: weight decay, which does not apply to biases.
        seeds: number of starting points for each set.
        steps: number of steps of each descent.
        learning_rate: learning rate of descent, with momentum.
        momentum: coefficient of heavy-ball momentum.
        polishing: maximum number of Newton steps in polishing an end point.
        level: rise of the cost at the boundary of a basin.
        directions: number of directions in which the boundary is searched.
        inverse_temperature: inverse temperature of the Markov chains.
        localization: precision of the Gaussian prior that keeps the chains near their minimum.
        num_samples: number of samples of each chain.
        num_warmup: number of discarded trajectories of each chain, in which its step size is tuned.
        num_integration_steps: number of integration steps of each Hamiltonian trajectory.
        resamples: number of bootstrap resamples.
        key: seed of the random probes, directions and chains.
    """

    data: str = "mnist5k"
    sets: int = 8
    images: int = 50
    hidden: int = 3
    decay: float = 3e-3
    seeds: int = 32
    steps: int = 4000
    learning_rate: float = 3.0
    momentum: float = 0.9
    polishing: int = 100
    level: float = 0.002
    directions: int = 200
    inverse_temperature: float = 10_000.0
    localization: float = 100.0
    num_samples: int = 200
    num_warmup: int = 100
    num_integration_steps: int = 16
    resamples: int = 2000
    key: int = 0
