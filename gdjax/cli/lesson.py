"""`gdjax lesson`: a page on which a network is seen to learn, from a descent made on the spot."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gdjax import interrupts
from gdjax.cli import checks
from gdjax.errors import InputError

SNAPSHOTS = 150  # kept of the descent; the page shows a part of them
RECORDED = 4000  # training images that a record's cost is the mean over


@dataclass(frozen=True)
class Lesson:
    """Make a page to draw digits on and watch a network learn to read them (under a minute)."""

    data: str = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or any that is prepared."""
    recipe: Literal["quick", "best", "plain"] = "quick"
    """How the network is trained, as for `gdjax train`."""
    epochs: int | None = None
    """Passes over the training set; by default the recipe's."""
    seed: int = 0
    """Seed of the starting point."""
    out: Path | None = None
    """HTML file; by default results/lesson/<hash of these settings>/page.html."""

    def run(self) -> None:
        """Train, keep the network at every stage, write the page."""
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"--epochs {self.epochs}: expected at least 1")
        checks.seed("--seed", self.seed)
        from gdjax.cli import process, results

        file = results.page("lesson", self, self.out)
        process.own()
        from gdjax.pages import lesson

        problem, run = self._descent()
        if run.interrupted:
            raise KeyboardInterrupt
        page = lesson(problem, run)
        page.save(file)
        print(
            f"{run.measures['test_accuracy'][-1]:.1%} of the test digits read after "
            f"{run.steps} steps\nwritten to {file} ({len(page.html) / 1e6:.1f} MB); open it in a "
            f"browser"
        )

    def _descent(self) -> tuple[Any, Any]:
        import dataclasses

        from gdjax import keys, problems
        from gdjax.descent import RECIPES, descend, steps_for

        recipe = RECIPES[self.recipe]
        if self.epochs is not None:
            recipe = dataclasses.replace(recipe, epochs=self.epochs)
        problem = problems.digits(self.data, distortion=recipe.distortion)
        steps = recipe.epochs * steps_for(1, problem.samples // recipe.copies, recipe.batch_size)
        every = max(1, steps // SNAPSHOTS)
        print(f"{recipe}, seed {self.seed}")
        streams = keys.streams(0, seed=self.seed)
        with interrupts.interruptible():
            run = descend(
                problem,
                recipe.optimizer(steps),
                problem.init(streams.init),
                steps,
                key=streams,
                batch_size=recipe.batch_size,
                record_every=every,
                record_samples=min(RECORDED, problem.samples),
                snapshot_every=every,
            )
        return problem, run
