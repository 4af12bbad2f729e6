"""Settings of the experiment river_valleys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Runs at a constant rate, their branches, and power decays."""

    # names of the data sets: that of a sigmoid network with quadratic loss, and that of a tanh
    # network with cross-entropy
    data: tuple[str, ...] = ("mnist5k", "fashion_mnist")
    rates: tuple[float, ...] = (6.0, 0.2)  # learning rate of the trunks, for each data set
    samples: int = 4000  # maximum number of training images
    width: int = 16  # number of neurons in each of the two hidden layers
    batch_size: int = 32  # number of images per step
    starts: int = 8  # number of trunks for each data set, and of starts for each power decay
    warm_up_steps: int = 100  # number of steps over which the rate of a trunk rises linearly
    branch_steps: tuple[int, ...] = (300, 600, 900)  # steps at which branches leave a trunk
    decay_steps: int = 300  # number of steps of a decay
    snapshot_every: int = 20  # number of steps between snapshots, whose weights are averaged
    # numbers k of eigenvectors that span the subspace of steep directions
    directions: tuple[int, ...] = (5, 10)
    # exponents p of the power decays on digits
    exponents: tuple[float, ...] = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
    # smallest and largest peak rate on digits, and number of peak rates, which are spaced
    # geometrically
    peaks: tuple[float, float, int] = (1.5, 24.0, 5)
    steps: int = 4000  # number of steps N of a power decay on digits
