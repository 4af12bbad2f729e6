"""Restoring checkpoints from a store, and rejection of invalid checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import same_bits

from gdjax.sweeps.checkpoint import (
    SlabCheckpoint,
    TileCheckpoint,
    from_host,
    to_host,
)


@pytest.mark.parametrize(
    "array",
    [
        jnp.array([1.5, -0.0, jnp.nan], jnp.float32),
        jnp.array([1.5, 2.0], jnp.bfloat16),
        jnp.array([[True, False]]),
        jnp.arange(4, dtype=jnp.int32),
        jax.random.split(jax.random.key(3), 5),
        jax.random.key(7, impl="rbg"),
    ],
)
def test_arrays_and_keys_are_unchanged_by_the_transfer_to_the_host(array):
    other = to_host(array)
    assert type(other) is np.ndarray
    back = jnp.asarray(from_host(other, array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert same_bits(to_host(back), other)


RUN = {"cost": ((7,), np.dtype(np.float32)), "outcome": ((), np.dtype(np.int8))}


def checkpoint():
    finished = {"cost": np.ones((3, 7), np.float32), "outcome": np.zeros(3, np.int8)}
    slab = SlabCheckpoint(
        60,
        [np.arange(3), np.ones((3, 2))],
        {"cost": np.zeros((3, 7))},
        {"snapshots": [np.ones((3, 1)), np.zeros((3, 1))]},
    )
    return TileCheckpoint([finished], slab)


def test_a_checkpoint_is_restored_from_its_named_arrays():
    before = checkpoint()
    after = TileCheckpoint.from_stored(before.to_stored(), RUN, 3, 2)
    assert after.slab is not None
    assert after.slab.step == 60
    assert after.slab.described() == before.slab.described()
    assert jax.tree.all(jax.tree.map(same_bits, after.done, before.done))
    assert jax.tree.all(jax.tree.map(same_bits, after.slab[1:], before.slab[1:]))
    alone = TileCheckpoint(before.done)
    assert TileCheckpoint.from_stored(alone.to_stored(), RUN, 3, 2).slab is None


@pytest.mark.parametrize(
    ("num_done", "spoil"),
    [
        (0, lambda arrays, meta: meta.update(slabs=3)),
        (0, lambda arrays, meta: meta.update(slabs="1")),
        (0, lambda arrays, meta: arrays.pop("done.cost")),
        (0, lambda arrays, meta: arrays.update({"done.cost": np.ones((3, 6), np.float32)})),
        (0, lambda arrays, meta: arrays.update({"done.more": np.ones(3)})),
        (1, lambda arrays, meta: arrays.pop("carry.1")),
        (1, lambda arrays, meta: arrays.pop("kept.snapshots.0")),
        (1, lambda arrays, meta: meta.update(step=1.5)),
        (1, lambda arrays, meta: meta.update(leaves=10**9)),
        (1, lambda arrays, meta: meta.pop("leaves")),
    ],
)
def test_invalid_finished_slabs_and_invalid_states_are_discarded(num_done, spoil):
    arrays, meta = checkpoint().to_stored()
    spoil(arrays, meta)
    result = TileCheckpoint.from_stored((arrays, meta), RUN, 3, 2)
    assert (len(result.done), result.slab) == (num_done, None)
