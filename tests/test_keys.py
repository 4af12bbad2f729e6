"""Streams of random keys that depend only on the seeds of a run."""

import jax
import numpy as np
import pytest

from gdjax.errors import InputError
from gdjax.keys import run_keys

# Threefry-2x32 with 20 rounds, key and counter zero: kat_vectors of Random123 (Salmon et al. 2011).
KNOWN = (0x6B200159, 0x99BA4EFE)


def bits(key):
    return tuple(jax.random.key_data(key).ravel().tolist())


def test_init_depends_only_on_seed_and_order_only_on_data_seed():
    base, other_seed, other_data = run_keys(7, 3, 5), run_keys(7, 4, 5), run_keys(7, 3, 6)
    assert bits(base.order) == bits(other_seed.order)
    assert bits(base.init) == bits(other_data.init)
    assert bits(base.probes) == bits(other_data.probes)
    assert bits(base.init) != bits(other_seed.init)
    assert bits(base.probes) != bits(other_seed.probes)
    assert bits(base.order) != bits(other_data.order)


def test_keys_of_different_streams_are_distinct():
    keys = [
        bits(key)
        for root in (0, 1, 2)
        for seed in range(4)
        for key in run_keys(root, seed, data_seed=seed, perturbation_seed=seed)
    ]
    assert len(set(keys)) == len(keys)


def test_streams_of_an_array_of_seeds_equal_those_of_each_seed():
    seeds = np.array([0, 1, 9, 2**32 - 1])
    many = run_keys(5, seeds, seeds[::-1].copy(), perturbation_seed=seeds)
    for i, seed in enumerate(seeds):
        one = run_keys(5, int(seed), int(seeds[::-1][i]), perturbation_seed=int(seed))
        assert [bits(k[i]) for k in many] == [bits(k) for k in one]


@pytest.mark.parametrize("wrong", [-1, 2**32, 2**70])
@pytest.mark.parametrize("name", ["root_seed", "seed", "data_seed"])
def test_a_seed_out_of_range_raises_an_error(name, wrong):
    with pytest.raises(InputError, match=f"{name} = {wrong}"):
        run_keys(**{"root_seed": 0, name: wrong})


def test_noise_depends_on_seed_and_noise_seed():
    base = run_keys(7, 3, 5)
    assert bits(base.noise) == bits(run_keys(7, 3, 6).noise)
    others = (run_keys(7, 4, 5), run_keys(7, 3, 5, noise_seed=1), run_keys(8, 3, 5))
    assert len({bits(result.noise) for result in (base, *others)}) == 4
    seeds = np.arange(3)
    many = run_keys(7, seeds, noise_seed=seeds[::-1].copy()).noise
    each = [bits(run_keys(7, k, noise_seed=2 - k).noise) for k in range(3)]
    assert [bits(key) for key in many] == each


def test_keys_equal_those_derived_with_jax_fold_in():
    seeds = np.array([0, 1, 12345, 2**32 - 1])
    for root in (0, 7, 2**32 - 1):
        base = jax.random.key(np.uint32(root), impl="threefry2x32")
        order = jax.random.fold_in(jax.random.fold_in(base, 1), 3)
        assert bits(run_keys(root, data_seed=3).order) == bits(order)
        starts = jax.random.fold_in(base, 0)
        many = jax.vmap(jax.random.fold_in, (None, 0))(starts, seeds.astype(np.uint32))
        assert bits(run_keys(root, seeds).init) == bits(many)


def test_the_first_key_equals_the_known_answer_of_random123():
    once = run_keys(0).init  # threefry2x32-20 of zeros, folded with zero again
    assert bits(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 0)) == KNOWN
    assert bits(once) == bits(
        jax.random.fold_in(
            jax.random.wrap_key_data(np.array(KNOWN, np.uint32), impl="threefry2x32"), 0
        )
    )
