"""Keys: the one place where integers become random numbers, the same in `train` and in a sweep.

    key = fold(fold(root, stream), seed),   one stream a purpose

What a run draws depends on its own seeds only, never on what runs beside it.

>>> a, b = streams(0, seed=1), streams(0, seed=2)
>>> bool(jnp.all(a.order == b.order)), bool(jnp.all(a.init == b.init))
(True, False)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Key

from gdjax.errors import InputError


class Streams(NamedTuple):
    """Independent sources of randomness of a run, or of many with a leading axis.

    Args:
        init: for the starting point.
        order: for the order of mini-batches.
        probes: for random probes of a measure.
        noise: for what a random cost draws; step t uses it folded with t.
        perturbation: for where a branch is pushed.
    """

    init: Key[Array, "*runs"]
    order: Key[Array, "*runs"]
    probes: Key[Array, "*runs"]
    noise: Key[Array, "*runs"]
    perturbation: Key[Array, "*runs"]


def streams(
    root: int,
    seed: int | Int[np.ndarray, "*runs"] = 0,
    data_seed: int | Int[np.ndarray, "*runs"] = 0,
    noise_seed: int | Int[np.ndarray, "*runs"] = 0,
    perturbation_seed: int | Int[np.ndarray, "*runs"] = 0,
) -> Streams:
    """The keys of a run: starting point, order of mini-batches, random probes, a cost's noise.

    The starting point depends on `seed` only, the order on `data_seed` only. The noise depends on
    `seed` and `noise_seed`: runs from other starting points draw other numbers, and runs that
    differ in their settings alone draw the same.

    Args:
        root: seed of the whole study, in [0, 2^32).
        seed: which starting point, in [0, 2^32); an array of them gives an array of keys.
        data_seed: which order of mini-batches, likewise.
        noise_seed: which numbers a random cost draws, likewise; as long as `seed`, or one number.
        perturbation_seed: which way a branch is pushed, likewise.

    Raises:
        InputError: a seed that is not a whole number in [0, 2^32), or is not known yet, inside of
            `jit` or `vmap`.
    """
    given = (
        ("root", root),
        ("seed", seed),
        ("data_seed", data_seed),
        ("noise_seed", noise_seed),
        ("perturbation_seed", perturbation_seed),
    )
    for name, value in given:
        if isinstance(value, Tracer):
            raise InputError(
                f"streams: {name} is traced, and seeds are checked; call streams outside of jit "
                f"and vmap, with an array of seeds, and map over its keys"
            )
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iu" or np.any(numbers < 0) or np.any(numbers >= 2**32):
            raise InputError(f"streams: {name} = {value!r}, expected a whole number in [0, 2^32)")

    # The keys of a vmapped program are those of each run alone with threefry only.
    base = jax.random.key(np.uint32(root), impl="threefry2x32")
    init, order, probes, noise, pushes = (jax.random.fold_in(base, i) for i in range(5))
    return Streams(
        _folded(init, seed),
        _folded(order, data_seed),
        _folded(probes, seed),
        _folded(noise, seed, noise_seed),
        _folded(pushes, perturbation_seed),
    )


def _folded(key, *seeds):
    """A key folded with one number after another; arrays of them give an array of keys."""
    numbers = np.broadcast_arrays(*(np.asarray(seed, np.uint32) for seed in seeds))
    fold = jax.random.fold_in
    if numbers[0].ndim:
        fold, key = jax.vmap(fold), jnp.broadcast_to(key, numbers[0].shape)
    for number in numbers:
        key = fold(key, number)
    return key
