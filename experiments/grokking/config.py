"""Settings of the experiment grokking."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Task, network and weight decays.

    Args:
        modulus: modulus p.
        part: share of the p^2 pairs that are in the training set.
        width: number of hidden neurons.
        learning_rate: learning rate of AdamW.
        decays: weight decays, ascending; a step multiplies the weights by
            1 - learning_rate * decay.
        seeds: number of starting points, each with a different set of training pairs.
        steps: number of steps of each run.
        record_every: number of steps from one record to the next.
        known: smallest share of correctly predicted pairs at which a set counts as learned.
    """

    modulus: int = 13
    part: float = 0.7
    width: int = 48
    learning_rate: float = 0.01
    decays: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    seeds: int = 24
    steps: int = 5000
    record_every: int = 10
    known: float = 0.95
