"""Settings of the experiment guessing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks to guess and to train."""

    data: str = "mnist5k"  # name of a data set of 28x28 digits
    digits: tuple[int, int] = (3, 5)  # the two digits to distinguish
    hidden: int = 8  # number of hidden neurons (ReLU)
    sets: int = 16  # number of sets of images to fit
    most: int = 60  # number of images in each set, the largest k
    guessed: int = 24  # largest k for which networks are guessed
    # values of k for which networks are sampled and trained
    images: tuple[int, ...] = (2, 4, 8, 16, 20, 24, 32, 40, 60)
    blocks: int = 128  # number of blocks of guesses
    guesses: int = 4096  # number of networks drawn per block
    members: int = 128  # number of sampled networks for each set
    moves: int = 100  # number of steps of each sampled network for every two images that are added
    return_moves: int = 600  # number of steps of networks that start from the ends of descents
    # values of k for which networks with a large margin are sampled
    margin_images: tuple[int, ...] = (16,)
    margin_members: int = 32  # number of sampled networks with a large margin for each set
    levels: int = 40  # maximum number of levels by which the margin is increased
    trained: int = 32  # number of descents for each set and each k
    # learning rate of plain descent on the mean of log(1 + exp(-label * output))
    learning_rate: float = 0.3
    # number of steps of each descent, which continues after all images are fitted
    steps: int = 1000
    key: int = 0  # seed of all random draws
