"""Settings of the experiment branching."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents, the steps at which they branch, and the changes of single weights.

    Args:
        data: name of the data set.
        samples: number of training images, taken from the start of the set; by default all.
        width: number of neurons in each of the two hidden layers.
        initializers: initializers of the starting weights.
        learning_rate: learning rate of plain gradient descent.
        batch_size: number of images per step.
        epochs: number of passes over the training set.
        branch_steps: steps at which branches start; those beyond the last step are skipped.
        perturbations: sizes sigma of the changes.
        trunks: number of descents (trunks) from which branches start, for each initializer.
        changes: number of weights changed in each layer, one per branch, at each step and size;
            the weights differ between trunks.
        points: number of points along each line, including its end points.
    """

    data: str = "mnist5k"
    samples: int | None = None
    width: int = 16
    initializers: tuple[str, ...] = ("fan_in", "normal")
    learning_rate: float = 3.0
    batch_size: int = 32
    epochs: int = 15
    branch_steps: tuple[int, ...] = (0, 30, 100, 300)
    perturbations: tuple[float, ...] = (0.03, 0.3, 1.0)
    trunks: int = 8
    changes: int = 2
    points: int = 15
