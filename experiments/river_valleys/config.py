"""Settings of the experiment river_valleys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Runs at a constant rate, their branches, and power decays.

    Args:
        data: names of the data sets: that of a sigmoid network with quadratic loss, and that of a
            tanh network with cross-entropy.
        rates: learning rate of the trunks, for each data set.
        samples: maximum number of training images.
        width: number of neurons in each of the two hidden layers.
        batch_size: number of images per step.
        starts: number of trunks for each data set, and of starts for each power decay.
        warm_up_steps: number of steps over which the rate of a trunk rises linearly.
        branch_steps: steps at which branches leave a trunk.
        decay_steps: number of steps of a decay.
        snapshot_every: number of steps between snapshots, whose weights are averaged.
        directions: numbers k of eigenvectors that span the subspace of steep directions.
        exponents: exponents p of the power decays on digits.
        peaks: smallest and largest peak rate on digits, and number of peak rates, which are spaced
            geometrically.
        steps: number of steps N of a power decay on digits.
    """

    data: tuple[str, ...] = ("mnist5k", "fashion_mnist")
    rates: tuple[float, ...] = (6.0, 0.2)
    samples: int = 4000
    width: int = 16
    batch_size: int = 32
    starts: int = 8
    warm_up_steps: int = 100
    branch_steps: tuple[int, ...] = (300, 600, 900)
    decay_steps: int = 300
    snapshot_every: int = 20
    directions: tuple[int, ...] = (5, 10)
    exponents: tuple[float, ...] = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)
    peaks: tuple[float, float, int] = (1.5, 24.0, 5)
    steps: int = 4000
