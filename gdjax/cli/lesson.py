"""`gdjax lesson`: write a page that trains a digit classifier in the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gdjax._runtime import process, results
from gdjax.cli.options import at_least

TRAIN_IMAGES = 4000  # maximum number of training images in the page


@dataclass(frozen=True)
class Lesson:
    """Write a page on which to draw digits and train a network to classify them."""

    data: str = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or another data set prepared with
    `gdjax data prepare`."""
    networks: Annotated[int, at_least(0)] = 48
    """Number of trained networks that classify one image in the last step of the course; 0 omits
    this step."""
    out: Path | None = None
    """HTML file; by default results/lesson/<hash of these settings>/page.html."""

    def run(self) -> None:
        """Train the networks and write the page."""
        file = results.page("lesson", self, self.out)
        process.configure()
        from gdjax import data, problems
        from gdjax.pages import lesson

        images = data.load(self.data)
        samples = min(TRAIN_IMAGES, len(images.train_labels))
        page = lesson(problems.digits(images, samples=samples), self.networks)
        page.save(file)
        print(f"written to {file} ({len(page.html) / 1e6:.1f} MB); open it in a browser")
