"""Settings of the experiment widths_of_valleys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Network, sets of images, and measures of width."""

    data: str = "mnist5k"  # name of the data set
    sets: int = 8  # number of disjoint sets of training images; sets without some digit are skipped
    images: int = 50  # number of training images in each set
    hidden: int = 3  # number of neurons in the hidden layer
    decay: float = 3e-3  # weight decay, which does not apply to biases
    seeds: int = 32  # number of starting points for each set
    steps: int = 4000  # number of steps of each descent
    learning_rate: float = 3.0  # learning rate of descent, with momentum
    momentum: float = 0.9  # coefficient of heavy-ball momentum
    polishing: int = 100  # maximum number of Newton steps in polishing an end point
    level: float = 0.002  # rise of the cost at the boundary of a basin
    directions: int = 200  # number of directions in which the boundary is searched
    inverse_temperature: float = 10_000.0  # inverse temperature of the Markov chains
    # precision of the Gaussian prior that keeps the chains near their minimum
    localization: float = 100.0
    num_samples: int = 200  # number of samples of each chain
    # number of discarded trajectories of each chain, in which its step size is tuned
    num_warmup: int = 100
    num_integration_steps: int = 16  # number of integration steps of each Hamiltonian trajectory
    resamples: int = 2000  # number of bootstrap resamples
    key: int = 0  # seed of the random probes, directions and chains
