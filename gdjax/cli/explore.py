"""`gdjax explore`: a sweep, landscapes and minima as a page that answers when it is pointed at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax.cli.store import exists
from gdjax.errors import InputError


@dataclass(frozen=True)
class Explore:
    """Make a page to point at: a map of a sweep and its runs, landscapes, minima, test functions.

    Without a store the page has the test functions alone: a click starts a descent.
    """

    store: Annotated[str | None, tyro.conf.Positional] = None
    """Zarr store of a sweep."""
    planes: Path | None = None
    """planes.zarr that `gdjax landscape` wrote: landscapes that turn."""
    minima: Path | None = None
    """data.zarr that `gdjax minima` wrote: minima on their map, and what lies between them."""
    skip_damaged: bool = False
    """Show damaged tiles of the store as runs that are not finished."""
    out: Path | None = None
    """HTML file; by default results/explore/<hash of these settings>/page.html."""

    def run(self) -> None:
        """Read, and write the page."""
        if self.store is not None:
            exists(self.store)
        for flag, path in (("--planes", self.planes), ("--minima", self.minima)):
            if path is not None and not path.is_dir():
                wrote = "landscape" if flag == "--planes" else "minima"
                raise InputError(
                    f"{flag} {path}: there is no such folder; give the one that `gdjax {wrote}` "
                    f"wrote, which ends in .zarr"
                )
        from gdjax._runtime import process, results

        file = results.page("explore", self, self.out)
        process.own()
        from gdjax import pages, stores

        runs = None
        if self.store is not None:
            runs = stores.open_dataset(self.store, skip_damaged=self.skip_damaged)
        page = pages.explore(
            runs,
            planes=None if self.planes is None else _opened("--planes", self.planes),
            minima=None if self.minima is None else _opened("--minima", self.minima)[""],
            name="" if self.store is None else str(self.store),
        )
        page.save(file)
        print(f"written to {file} ({len(page.html) / 1e6:.1f} MB); open it in a browser")


def _opened(flag: str, path: Path) -> dict[str, Any]:
    """The Datasets of a folder that `gdjax` wrote, by name.

    Raises:
        InputError: it cannot be read.
    """
    import xarray as xr

    try:
        # In format 2 a folder could name codecs that run code: pickled objects.
        tree = xr.open_datatree(path, engine="zarr", zarr_format=3, consolidated=False).load()
    except Exception as error:  # whatever a folder of something else makes of the reader
        raise InputError(
            f"{flag} {path}: cannot be read as what `gdjax` writes ({type(error).__name__}); give "
            f"the folder that ends in .zarr"
        ) from None
    found = {name.strip("/"): tree[name].to_dataset() for name in tree.groups}
    # A way that a descent took is looked at first.
    return dict(sorted(found.items(), key=lambda item: "path_a" not in item[1]))
