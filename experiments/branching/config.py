"""Settings of the experiment branching."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents, the steps at which they branch, and the changes of single weights."""

    data: str = "mnist5k"  # name of the data set
    # number of training images, taken from the start of the set; by default all
    samples: int | None = None
    width: int = 16  # number of neurons in each of the two hidden layers
    initializers: tuple[str, ...] = ("fan_in", "normal")  # initializers of the starting weights
    learning_rate: float = 3.0  # learning rate of plain gradient descent
    batch_size: int = 32  # number of images per step
    epochs: int = 15  # number of passes over the training set
    # steps at which branches start; those beyond the last step are skipped
    branch_steps: tuple[int, ...] = (0, 30, 100, 300)
    perturbations: tuple[float, ...] = (0.03, 0.3, 1.0)  # sizes sigma of the changes
    trunks: int = 8  # number of descents (trunks) from which branches start, for each initializer
    # number of weights changed in each layer, one per branch, at each step and size; the weights
    # differ between trunks
    changes: int = 2
    points: int = 15  # number of points along each line, including its end points
