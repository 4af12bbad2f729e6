"""The digit network on part of a data set, and what a variant makes of it from many starts.

learned from: all but the held-out images,   or all;   measured on: the held-out,   or the test
"""

import dataclasses
from pathlib import Path
from typing import Any

import gdjax as gd
from gdjax.problems import freshly_distorted
from variants.training import Variant, towards

KEPT = 12  # times that parameters are kept, about
RECORDED = 1000  # samples of which records show the cost


class Problems:
    """The digit network on part of a set; images are distorted once for all who ask for it."""

    def __init__(self, data: str, held_out: int):
        self.set = gd.data.load(data)
        self.held_out = held_out
        self.made: dict[Any, gd.Problem] = {}

    def learning(self, variant: Variant) -> gd.Problem:
        """Learns from all but the held-out images, and is measured on those."""
        seen = len(self.set.train_labels) - self.held_out
        problem = self._of(variant, seen)
        rest = self.set.train_images[seen:], self.set.train_labels[seen:]
        function = problem.metrics["test_accuracy"].function
        metric = gd.Metric(
            function, (rest[0].reshape(len(rest[0]), -1), rest[1]), long_name="validation accuracy"
        )
        return dataclasses.replace(problem, metrics={"validation_accuracy": metric})

    def whole(self, variant: Variant) -> gd.Problem:
        """Learns from all training images and is measured on the test images."""
        return self._of(variant, len(self.set.train_labels))

    def _of(self, variant, samples):
        distortion = None if variant.fresh else variant.recipe.distortion
        place = samples, distortion
        if place not in self.made:
            # Copies of one part of the set are as much as is worth keeping at hand.
            self.made = {k: v for k, v in self.made.items() if k[0] == samples}
            self.made[place] = gd.problems.digits(self.set, samples=samples, distortion=distortion)
        problem = self.made[place]
        if variant.fresh:
            shape = self.set.train_images.shape[1:]
            return freshly_distorted(problem, shape, variant.recipe.distortion)
        if variant.targets == (0.0, 1.0):
            return problem
        other = gd.problems.digits(self.set, cost=towards(*variant.targets), samples=samples)
        return dataclasses.replace(other, data=problem.data)


def trained(problem: gd.Problem, variant: Variant, seeds: range, samples: int, store: Path):
    """A sweep over starting points whose parameters are kept about a dozen times."""
    recipe = variant.recipe
    epoch = gd.descent.steps_for(1, samples, recipe.batch_size)
    steps, every = recipe.epochs * epoch, epoch * max(1, recipe.epochs // KEPT)
    return gd.sweep(
        problem,
        gd.axes(seed=seeds),
        steps,
        make_optimizer=lambda: recipe.optimizer(steps, variant.rule),
        batch_size=recipe.batch_size,
        record_every=every,
        record_samples=min(RECORDED, samples),  # all copies would take as long as many epochs
        snapshot_every=every,
        store=store,
    )
