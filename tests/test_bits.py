"""Bits of a run: they depend on its settings alone.

The SHA-256 of the records and parameters of each run is compared between grids, devices, tiles,
searches, extensions, branches and interruptions. Slabs have their usual widths.
"""

import hashlib

import jax
import numpy as np
import optax
import pytest
from small_problems import network
from tiny_models import attention, random_cost

import gdjax as gd
from gdjax.descent import block_loop
from gdjax.sweeps import slab_runner

DEVICES = jax.local_devices()
RATES, SEEDS = np.geomspace(0.01, 0.4, 12), range(8)


OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "adam": optax.adam,
}
PROBLEMS = {f.__name__: f for f in (random_cost, attention)} | {
    "bowl": lambda: gd.problems.bowl([1.0, 9.0]),
    "watched_network": lambda: network(watched=True),  # with a scalar and an array metric
}
ORDERS = {"whole": ({}, "seed"), "shared": ({"batch_size": 5}, "seed")}
ORDERS["own"] = {"batch_size": 5}, "data_seed"
ORDERS["drawn"] = {"batch_size": 5, "replacement": True}, "data_seed"

# Each pair of problem, optimizer, order and precision occurs; "drawn" is one of the own orders.
QUICK = [
    ("bowl", "adam", "whole", False),
    ("watched_network", "momentum", "own", False),
    ("random_cost", "sgd", "shared", True),
]
LONG = [
    ("bowl", "sgd", "whole", True),
    ("bowl", "momentum", "whole", True),
    ("watched_network", "sgd", "whole", False),
    ("watched_network", "adam", "shared", True),
    ("random_cost", "momentum", "whole", False),
    ("random_cost", "adam", "drawn", False),
    ("attention", "sgd", "own", True),
    ("attention", "momentum", "shared", False),
    ("attention", "adam", "whole", True),
]


def hashes(runs):
    """Return the hash of all arrays of each run, by its learning rate and seed."""
    runs = runs.load()
    seed = "data_seed" if "data_seed" in runs.dims else "seed"
    runs = runs[[name for name in runs.data_vars if name not in ("finished", "carry")]]
    runs = runs.transpose("learning_rate", seed, ...)
    return {
        (rate, number): hashlib.sha256(
            b"".join(array.values[i, j].tobytes() for _, array in sorted(runs.data_vars.items()))
        ).hexdigest()
        for i, rate in enumerate(runs.learning_rate.values.tolist())
        for j, number in enumerate(runs[seed].values.tolist())
    }


class ProcessKilled(BaseException):
    """Interruption without cleanup, as by kill -9."""


@pytest.mark.parametrize(
    ("problem", "optimizer", "order", "x64"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)],
)
def test_the_bits_of_a_run_depend_on_its_settings_alone(
    problem, optimizer, order, x64, tmp_path, monkeypatch
):
    problem, (batches, seed) = PROBLEMS[problem](), ORDERS[order]
    given = {"problem": problem, "make_optimizer": OPTIMIZERS[optimizer]}
    settings = {**given, **batches, "record_every": 5}

    def sweep(rates=RATES, seeds=SEEDS, steps=20, **options):
        grid = gd.axes(learning_rate=rates, **{seed: seeds})
        options = {"continuable": False, "devices": DEVICES[:1], **options}
        return gd.sweep(axes=grid, num_steps=steps, **settings, **options)

    def same(runs):
        here = hashes(runs)
        assert here == {run: expected[run] for run in here}
        return len(here)

    with jax.enable_x64(x64):
        expected = hashes(sweep())
        assert len(set(expected.values())) == 96 if seed == "seed" else len(expected) > 12
        assert same(sweep(RATES[5:6], [3])) == 1  # grids
        assert same(sweep(RATES[[7, 2]], [6, 1, 0, 4])) == 8
        assert same(sweep(devices=DEVICES[:2])) == 96  # devices

        # Interruption on two devices, and resumption on four
        blocks = slab_runner.start_blocks

        def killed(*arguments, **options):
            for result in blocks(*arguments, **options):
                if result.is_last:
                    raise ProcessKilled
                yield result

        with monkeypatch.context() as patch:
            patch.setattr(slab_runner, "CHECKPOINT_SECONDS", 0.0)
            patch.setattr(block_loop.BlockLengthController, "update", lambda *_: None)
            patch.setattr(slab_runner, "start_blocks", killed)
            with pytest.raises(ProcessKilled):
                sweep(RATES[:8], store=tmp_path / "s", devices=DEVICES[:2])
        assert list((tmp_path / "s" / ".gdjax" / "checkpoints").iterdir())
        assert same(gd.resume(tmp_path / "s", **given)) == 64

        # Extension, replay, branches and search
        wider = gd.axes(learning_rate=RATES, **{seed: SEEDS})
        assert same(gd.extend(tmp_path / "s", wider, to=tmp_path / "wide", **given)) == 96
        at = {"learning_rate": RATES[3], seed: 5}
        assert gd.replay(tmp_path / "wide", at, **given).equal
        leave = gd.axes(branch_step=[10], perturbation=[0.0, 0.1])
        branches = gd.branch(tmp_path / "wide", at, leave, **given, devices=DEVICES[:1])
        run = gd.open_dataset(tmp_path / "wide").sel(at)
        for name in ("cost", "gradient_norm"):
            branch = branches[name].sel(perturbation=0).values.ravel()
            np.testing.assert_array_equal(branch, run[name].values[2:])
        searched = gd.search.successive_halving(
            gd.Sweep(axes=wider, num_steps=20, **settings), (5,)
        )
        best = (searched.ended_at == 20).transpose("learning_rate", seed).values
        rows = [(RATES[i].item(), SEEDS[j]) for i, j in np.argwhere(best)]
        kept = searched.drop_vars(["ended_at", "rung"])
        assert 0 < len(rows) < 96
        assert all(hashes(kept)[run] == expected[run] for run in rows)
