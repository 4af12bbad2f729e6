"""From a step of a stored run into other descents: other settings, another order, a push.

    up to step t: the run, again, to the bit;   from t on: each branch with values of its own

>>> import tempfile, optax
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 20, store=f"{folder}/s", width=2)
...     pushed = axes(branch_step=[0, 10], perturbation=[0.0, 1.0], perturbation_seed=range(4))
...     found = branch(f"{folder}/s", {"learning_rate": 0.1, "seed": 1}, pushed)
>>> found.cost.sel(branch_step=10, perturbation=0).isel(step=-1).values.ravel().size
4
"""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gdjax import slabs
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import Axes, AxisValue, position
from gdjax.sweeps.recorded import opened
from gdjax.sweeps.replay import require_recorded
from gdjax.sweeps.specification import Request, check_keywords
from gdjax.sweeps.sweep import planned
from gdjax.sweeps.tiles import Work


def branch(
    stored: str | Path,
    at: Mapping[str, AxisValue],
    axes: Axes,
    num_steps: int | None = None,
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    nearest: bool = False,
    stored_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Descents that leave a run of a stored sweep at some of its steps.

        w'_t = w_t + d,   |d| = perturbation

    The run is taken again up to there, which costs as many steps of one slab, and whatever the next
    step needs comes with it: the optimiser's memory, the place in the order of mini-batches. With
    the program and the width of the sweep, a branch with the run's own settings that is not pushed
    has the run's own bits.

    Args:
        stored: path or URL of the sweep's store; nothing is written there.
        at: which run: values by axis, those of the grid within rounding.
        axes: the branches. `branch_step` (at which steps they leave the run, a program for each),
            `perturbation` (how far they are pushed, a length) and `perturbation_seed` (which way);
            axes of the sweep and other settings that branches have instead of the run's.
        num_steps: at which step branches end, counted from the run's start; None takes the run's.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it is none that a record may name.
        nearest: take the run of the grid that is nearest in its numbers.
        stored_options: where `stored` is a URL, keywords of `obstore.store.from_url`.
        settings: keywords of `sweep` that branches have instead of the sweep's: `perturb`
            ("direction" or "one_weight"), a `store` for the branches, `record_every`, `metrics`,
            `snapshot_every` and the like.

    Returns:
        An `xarray.Dataset` over `axes`, the run's own values as dimensions of length 1, and `step`;
        before a branch leaves the run it has no records (NaN).

    Raises:
        InputError: axes or settings that cannot work; a branch whose settings change what a run
            carries from step to step.
        StoreError: no store, a run that is not there, or as for `replay`.
    """
    check_keywords(settings)
    recorded = opened(stored, storage_options=stored_options)
    index = position(recorded.axes, at, nearest=nearest)
    setting = recorded.setting(index, problem, make_optimizer)
    what = setting.specification
    devices = tuple(jax.local_devices())[: setting.devices]
    work = Work(what, slabs.Slab(setting.width, devices), setting.tile_shape)
    changed = require_recorded(recorded, setting, recorded.run(index), work)
    trunk = what.axes.box(tuple(np.array([i]) for i in setting.index)).first
    arguments: dict[str, Any] = what.keywords
    arguments |= {"axes": axes, "num_steps": num_steps or what.num_steps, "trunk": trunk}
    if "devices" not in settings:
        arguments["devices"] = devices
    arguments |= {"width": setting.width, **settings}
    run = planned(Request(**arguments))
    found = run()
    here = json.loads(found.attrs["identity"])
    there = (setting.program_hash, setting.width, setting.devices)
    same = (here["program_hash"][0], here["slab"]["width"][0], here["slab"]["devices"]) == there
    if changed or not same:
        listed = "".join(f"; {n}: stored {old}, here {new}" for n, (old, new) in changed.items())
        warnings.warn(
            f"branch: up to its step the run was taken by another program than the stored one, so "
            f"that it may differ from it from the last bit on; vary nothing but axes of the sweep "
            f"and pushes to have it to the bit{listed}",
            stacklevel=2,
        )
    return found
