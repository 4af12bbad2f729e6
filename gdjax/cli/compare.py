"""`gdjax compare`: which setting of a sweep is better, and by how much."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gdjax.base import process, results
from gdjax.base.limits import Share
from gdjax.cli.emit import emit
from gdjax.cli.options import check_store


@dataclass(frozen=True)
class Compare:
    """Compare the settings of one axis, each tuned on half of the seeds and compared on the other.

    A setting is called better only if it is better than the other at every tuned value. See
    `gdjax.compare`.
    """

    store: Annotated[str, tyro.conf.Positional, check_store]
    """Zarr store of a sweep."""
    of: str
    """Compared axis, such as optimizer."""
    tune: tuple[str, ...] = ()
    """Axes of which each setting gets its best value, such as learning_rate; all other axes must be
    seeds."""
    metric: str = "cost"
    """Compared quantity: cost, or a recorded metric."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Whether smaller or larger values are better."""
    level: Share = 0.95
    """Level of the intervals; 1 - level is the family-wise error of all verdicts."""
    out: Path | None = None
    """Folder for results; by default results/compare/<hash of these settings>."""

    def run(self) -> None:
        """Compare the settings, write summary and figure, and print the verdicts."""
        process.configure()
        from gdjax.plots.plot import plot
        from gdjax.search import compare

        folder = results.folder("compare", self, self.out)
        of, *tune = (name.replace("-", "_") for name in (self.of, *self.tune))
        result = compare(
            self.store,
            of,
            tune=tune,
            metric=self.metric.replace("-", "_"),
            direction=self.direction,
            level=self.level,
        )
        emit(
            "compare",
            self,
            folder,
            summary={
                "settings": result.settings.reset_index(names=of).to_dict("records"),
                "pairs": result.pairs.reset_index().astype(object).to_dict("records"),
                "best": result.best,
                "tied": list(result.tied),
                "methods": result.methods,
            },
            draw=lambda: {"comparison": plot(result)},
            report=str(result).splitlines(),
            next_command=("explore", self.store),
        )
