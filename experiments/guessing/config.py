"""Settings of the experiment guessing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks to guess and to train.

    Args:
        data: name of a data set of 28x28 digits.
        digits: the two digits to distinguish.
        hidden: number of hidden neurons (ReLU).
        sets: number of sets of images to fit.
        most: number of images in each set, the largest k.
        guessed: largest k for which networks are guessed.
        images: values of k for which networks are sampled and trained.
        blocks: number of blocks of guesses.
        guesses: number of networks drawn per block.
        members: number of sampled networks for each set.
        moves: number of steps of each sampled network for every two images that are added.
        return_moves: number of steps of networks that start from the ends of descents.
        margin_images: values of k for which networks with a large margin are sampled.
        margin_members: number of sampled networks with a large margin for each set.
        levels: maximum number of levels by which the margin is increased.
        trained: number of descents for each set and each k.
        learning_rate: learning rate of plain descent on the mean of log(1 + exp(-label * output)).
        steps: number of steps of each descent, which continues after all images are fitted.
        key: seed of all random draws.
    """

    data: str = "mnist5k"
    digits: tuple[int, int] = (3, 5)
    hidden: int = 8
    sets: int = 16
    most: int = 60
    guessed: int = 24
    images: tuple[int, ...] = (2, 4, 8, 16, 20, 24, 32, 40, 60)
    blocks: int = 128
    guesses: int = 4096
    members: int = 128
    moves: int = 100
    return_moves: int = 600
    margin_images: tuple[int, ...] = (16,)
    margin_members: int = 32
    levels: int = 40
    trained: int = 32
    learning_rate: float = 0.3
    steps: int = 1000
    key: int = 0
