"""`gdjax lesson`: a page that trains a network to read digits, in the browser."""

from dataclasses import dataclass
from pathlib import Path

TRAIN_IMAGES = 4000  # that the page contains, at most


@dataclass(frozen=True)
class Lesson:
    """Write a page on which one draws digits and trains a network that reads them."""

    data: str = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or any that is prepared."""
    out: Path | None = None
    """HTML file; by default results/lesson/<hash of these settings>/page.html."""

    def run(self) -> None:
        """Put the images and the page's modules into one file."""
        from gdjax.cli import process, results

        file = results.page("lesson", self, self.out)
        process.own()
        from gdjax import data, problems
        from gdjax.pages import lesson

        images = data.load(self.data)
        samples = min(TRAIN_IMAGES, len(images.train_labels))
        page = lesson(problems.digits(images, samples=samples))
        page.save(file)
        print(f"written to {file} ({len(page.html) / 1e6:.1f} MB); open it in a browser")
