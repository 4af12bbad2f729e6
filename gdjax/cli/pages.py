"""`gdjax explore` and `gdjax lesson`: write interactive pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax.base import process, results
from gdjax.base.errors import InputError
from gdjax.base.limits import Whole
from gdjax.cli.options import DataOption, check_store

TRAIN_IMAGES = 4000  # maximum number of training images in a lesson


@dataclass(frozen=True)
class Explore:
    """Write an interactive page with a sweep, landscapes, minima and test functions.

    Without any input, the page contains only the test functions, on which a click starts a descent.
    """

    store: Annotated[str | None, tyro.conf.Positional, check_store] = None
    """Zarr store of a sweep."""
    planes: Path | None = None
    """Landscapes: planes.zarr written by `gdjax landscape`."""
    minima: Path | None = None
    """Minima and the barriers between them: data.zarr written by `gdjax minima`."""
    skip_damaged: bool = False
    """Show damaged runs of the store as unfinished, instead of stopping with an error."""
    out: Path | None = None
    """HTML file; by default results/explore/<hash of these settings>/page.html."""

    def run(self) -> None:
        """Read the inputs and write the page."""
        file = results.page("explore", self, self.out)
        process.configure()
        from gdjax import pages, stores

        runs = None
        if self.store is not None:
            runs = stores.open_dataset(self.store, skip_damaged=self.skip_damaged)
        page = pages.explore(
            runs,
            planes=None if self.planes is None else _opened("--planes", self.planes),
            minima=None if self.minima is None else _opened("--minima", self.minima)[""],
            name=self.store or "",
        )
        if self == Explore(out=self.out):
            print("no sweep was named: the page has test functions to descend on")
            print("`gdjax explore runs.zarr` shows the runs of a sweep")
        _save(page, file)


def _opened(flag: str, path: Path) -> dict[str, Any]:
    """Return the Datasets in a Zarr folder written by `gdjax`, by name."""
    import xarray as xr

    try:
        # Format 2 allows pickled objects, which can run code.
        tree = xr.open_datatree(path, engine="zarr", zarr_format=3, consolidated=False).load()
    except Exception as error:  # an arbitrary folder can cause any exception in the reader
        raise InputError(
            f"{flag} {path} is not a folder written by `gdjax` ({type(error).__name__}); pass the "
            f"folder that ends in .zarr"
        ) from None
    datasets = {name.strip("/"): tree[name].to_dataset() for name in tree.groups}
    # Planes with a trajectory come first.
    return dict(sorted(datasets.items(), key=lambda item: "path_a" not in item[1]))


@dataclass(frozen=True)
class Lesson:
    """Write a page on which to draw digits and train a network to classify them."""

    data: DataOption = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or another data set prepared with
    `gdjax data prepare`."""
    networks: Whole = 48
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
        _save(lesson(problems.digits(images, samples=samples), self.networks), file)


def _save(page, file):
    page.save(file)
    print(f"written to {file} ({len(page.html) / 1e6:.1f} MB); open it in a browser")
