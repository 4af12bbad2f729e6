"""Training of digit networks from many starting points, by training variant.

Networks are either trained on all but the held-out images and evaluated on the held-out images, or
trained on all training images and evaluated on the test images.
"""

import dataclasses
from pathlib import Path
from typing import Any

import gdjax as gd
from gdjax.problems import freshly_distorted

from .training import Variant, quadratic_with_targets

STORED_PARAMETERS = 12  # approximate number of records, and of snapshots, of a run
RECORDED = 1000  # number of samples over which the recorded cost is averaged


class Problems:
    """Problems of the digit network on parts of a data set, with a cache."""

    def __init__(self, data: str, held_out: int):
        self.set = gd.data.load(data)
        self.held_out = held_out
        self.problems: dict[Any, gd.Problem] = {}

    def with_held_out_images(self, variant: Variant) -> gd.Problem:
        """Return the problem of training on all but the held-out images.

        Its metric is the accuracy on the held-out images.
        """
        num_learned = len(self.set.train_labels) - self.held_out
        problem = self._of(variant, num_learned)
        rest = self.set.train_images[num_learned:], self.set.train_labels[num_learned:]
        function = problem.metrics["test_accuracy"].function
        metric = gd.Metric(
            function, (rest[0].reshape(len(rest[0]), -1), rest[1]), long_name="validation accuracy"
        )
        return dataclasses.replace(problem, metrics={"validation_accuracy": metric})

    def with_all_images(self, variant: Variant) -> gd.Problem:
        """Return the problem of training on all training images.

        Its metric is the accuracy on the test images.
        """
        return self._of(variant, len(self.set.train_labels))

    def _of(self, variant, samples):
        distortion = None if variant.fresh else variant.recipe.distortion
        key = samples, distortion
        if key not in self.problems:
            # To limit memory, only problems with the current number of samples remain cached.
            self.problems = {k: v for k, v in self.problems.items() if k[0] == samples}
            self.problems[key] = gd.problems.digits(
                self.set, samples=samples, distortion=distortion
            )
        problem = self.problems[key]
        if variant.fresh:
            shape = self.set.train_images.shape[1:]
            return freshly_distorted(problem, shape, variant.recipe.distortion)
        if variant.targets == (0.0, 1.0):
            return problem
        other = gd.problems.digits(
            self.set, loss=quadratic_with_targets(*variant.targets), samples=samples
        )
        return dataclasses.replace(other, data=problem.data)


def trained(problem: gd.Problem, variant: Variant, seeds: range, samples: int, store: Path):
    """Return a stored sweep over starting points, with about 12 snapshots per run."""
    recipe = variant.recipe
    epoch = gd.descent.steps_for(1, samples, recipe.batch_size)
    steps, every = recipe.epochs * epoch, epoch * max(1, recipe.epochs // STORED_PARAMETERS)
    return gd.sweep(
        problem,
        gd.axes(seed=seeds),
        steps,
        make_optimizer=lambda: recipe.optimizer(steps, variant.rule),
        batch_size=recipe.batch_size,
        record_every=every,
        # Evaluating the cost on all distorted copies would take as long as many epochs.
        record_samples=min(RECORDED, samples),
        snapshot_every=every,
        store=store,
    )
