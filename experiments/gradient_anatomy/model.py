"""Gradients, and checks of their largest entries."""

import math
from collections.abc import Callable

import jax
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature import check_gradient, gradient_summary, largest_entries, locate_entries
from gdjax.errors import InputError

from .config import Config


def one(
    config: Config, problem: gd.Problem, rule: optax.GradientTransformation, look: Callable
) -> xr.Dataset:
    """Return the gradients of one descent after `config.epochs`, and their checks."""
    if list(config.epochs) != sorted(set(config.epochs)) or config.epochs[:1] < (0,):
        raise InputError(f"epochs = {config.epochs}, expected increasing integers >= 0")
    streams = gd.run_keys(0, seed=config.seed)
    at, params = 0, problem.init(streams.init)
    before, stages = None, []
    for epochs in config.epochs:
        steps = gd.descent.steps_for(epochs, problem.samples, config.batch_size)
        if steps > at:
            before = gd.descend(
                problem,
                rule,
                params if before is None else before,
                steps - at,
                key=streams.order,
                batch_size=config.batch_size,
                record_every=steps,
            )
            at, params = steps, before.params
        stages.append(jax.tree.map(np.asarray, look(problem, params)))
    summaries, nudges = jax.tree.map(lambda *a: np.stack(a), *stages)
    gradient = np.stack([ravel_pytree(stage.gradient)[0] for stage, _ in stages])
    side = math.isqrt(problem.network.widths[0])
    locations = [
        locate_entries(params, top, network=problem.network, image_shape=(side, side))
        for top in nudges.position
    ]
    layer = np.concatenate([np.full(w.size + b.size, i + 1) for i, (w, b) in enumerate(params)])
    return xr.Dataset(
        {
            "gradient": (("stage", "entry"), gradient),
            "layer": ("entry", layer),
            "cost": ("stage", summaries.cost),
            "norm": ("stage", summaries.norm),
            "layer_norm": (("stage", "part"), np.stack(summaries.layer_norms, axis=1)),
            "zero_share": ("stage", summaries.zero_share),
            "position": (("stage", "top"), nudges.position),
            **{
                name: (("stage", "top"), getattr(nudges, name))
                for name in ("displacement", "predicted", "actual", "second_order", "rounding")
            },
            "dark_pixels": ((), int(np.sum(np.all(problem.data[0] == 0, axis=0)))),
        },
        {"epoch": ("stage", list(config.epochs))},
        {
            "places": [[location.label for location in stage] for stage in locations],
            "image_shape": [side, side],
            "neurons": problem.network.widths[1],
            "data_hash": (problem.provenance or {})["hash"],
        },
    )


def examine(count, problem, params):
    """Return a summary of the gradient, and checks of its largest entries."""
    parts = gradient_summary(problem, params)
    top = largest_entries(parts.gradient, count)
    return parts, check_gradient(problem, params, top.position)
