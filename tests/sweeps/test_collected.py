"""What a slab has brought comes back from its packed form as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import same_bits

from gdjax.sweeps.collected import Collected, from_host, to_host


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
def test_arrays_and_keys_come_back_from_the_host(array):
    there = to_host(array)
    assert type(there) is np.ndarray
    back = jnp.asarray(from_host(there, array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert same_bits(to_host(back), there)


def test_nothing_kept_is_nothing_to_go_on_from():
    assert Collected(None).saved is None


def test_kept_arrays_are_where_they_were():
    kept = {
        "carry.0": np.arange(3),
        "carry.1": np.ones((3, 2)),
        "records.cost": np.zeros((3, 7)),
    }
    meta = {"step": 60, "leaves": 2}
    done = Collected((kept, meta))
    assert done.saved is not None
    leaves, step = done.saved
    assert (step, done.step) == (60, 60)
    assert [leaf is kept[f"carry.{i}"] for i, leaf in enumerate(leaves)] == [True, True]
    assert same_bits(done.records["cost"], kept["records.cost"])
