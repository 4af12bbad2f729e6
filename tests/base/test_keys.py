"""Streams of random keys that depend only on the seeds of a run."""

import jax
import numpy as np

from gdjax.base.keys import Streams, run_keys

# Threefry-2x32 with 20 rounds, key and counter zero: kat_vectors of Random123 (Salmon et al. 2011).
KNOWN = (0x6B200159, 0x99BA4EFE)


def bits(key):
    return tuple(jax.random.key_data(key).ravel().tolist())


def test_each_stream_depends_on_the_root_seed_and_on_its_own_seeds():
    changed = {"root_seed": 8, "seed": 4, "data_seed": 6, "noise_seed": 1, "perturbation_seed": 9}
    base = {"root_seed": 7, "seed": 3, "data_seed": 5}
    streams_of = {"root_seed": set(Streams._fields), "seed": {"init", "probes", "noise"}}
    streams_of |= {"data_seed": {"order"}, "noise_seed": {"noise"}}
    streams_of |= {"perturbation_seed": {"perturbation"}}
    before = run_keys(**base)
    for name, value in changed.items():
        after = run_keys(**base | {name: value})
        pairs = zip(Streams._fields, before, after, strict=True)
        assert {stream for stream, a, b in pairs if bits(a) != bits(b)} == streams_of[name]


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
    arrays = seeds, seeds[::-1].copy(), np.roll(seeds, 1), seeds
    keys = run_keys(5, *arrays)
    for i, each in enumerate(zip(*arrays, strict=True)):
        assert [bits(key[i]) for key in keys] == [bits(key) for key in run_keys(5, *map(int, each))]


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
