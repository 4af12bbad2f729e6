"""`gdjax data`: list and prepare image data sets.

gdjax data list
gdjax data prepare mnist --manual-dir originals
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class List:
    """List the available image data sets and their locations."""

    data_dir: Path | None = None
    """Folder of prepared data sets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""

    def run(self) -> None:
        """Print one line per data set."""
        from gdjax.data.sets import available

        print(f"{'name':16}{'train':>8}{'test':>8}  where")
        for entry in available(self.data_dir):
            train, test = (f"{n:,}" if n else "-" for n in (entry.train, entry.test))
            print(f"{entry.name:16}{train:>8}{test:>8}  {entry.where}")
        print("next: gdjax data prepare NAME")


@dataclass(frozen=True)
class Prepare:
    """Download an image data set, or read its files, and prepare it (about 20 s)."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """mnist, fashion_mnist or kmnist."""
    data_dir: Path | None = None
    """Folder of prepared data sets; by default TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    manual_dir: Path | None = None
    """Folder with the original .gz files; by default, they are downloaded."""

    def run(self) -> None:
        """Prepare the data set, and print its location."""
        from gdjax.base import results
        from gdjax.data import prepare
        from gdjax.data.bundled import BUNDLED

        if self.name == BUNDLED:
            print(f"{BUNDLED} is ready: it comes with gdjax and needs no preparation")
        else:
            folder = prepare(self.name, data_dir=self.data_dir, manual_dir=self.manual_dir)
            print(f"{self.name} is ready in {folder}")
        print(results.next_command("train", "--data", self.name))


@dataclass(frozen=True)
class Data:
    """List image data sets (`list`, the default), or prepare one (`prepare`)."""

    command: (
        Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Prepare, tyro.conf.subcommand("prepare")]
    ) = field(default_factory=List)

    def run(self) -> None:
        """Run the subcommand."""
        self.command.run()
