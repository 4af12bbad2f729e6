"""Random keys from integer seeds, identical in `train` and in a sweep.

    key = fold(fold(root, stream), seed),   one stream per purpose

The key of a random cost is also folded with `noise_seed`. The random numbers of a run depend only
on its seeds and the root seed, not on other runs of the sweep.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Key

from gdjax.base.errors import InputError

ROTATIONS = np.array([[13, 15, 26, 6], [17, 29, 16, 24]], np.uint32)


class Streams(NamedTuple):
    """Independent random keys of a run, or of several runs with a leading axis.

    Args:
        init: key of the starting point.
        order: key of the order of mini-batches.
        probes: key of random probes of a metric.
        noise: key of a random cost; step t uses it folded with t.
        perturbation: key of the perturbation of a branch.
    """

    init: Key[Array, "*runs"]
    order: Key[Array, "*runs"]
    probes: Key[Array, "*runs"]
    noise: Key[Array, "*runs"]
    perturbation: Key[Array, "*runs"]


def run_keys(
    root_seed: int,
    seed: int | Int[np.ndarray, "*runs"] = 0,
    data_seed: int | Int[np.ndarray, "*runs"] = 0,
    noise_seed: int | Int[np.ndarray, "*runs"] = 0,
    perturbation_seed: int | Int[np.ndarray, "*runs"] = 0,
) -> Streams:
    """Return the random keys of a run, or of several runs.

    The starting point depends on `seed` only, and the order of mini-batches on `data_seed` only.
    The noise depends on `seed` and `noise_seed`: runs from different starting points draw different
    numbers, and runs that differ only in settings draw the same numbers.

    Args:
        root_seed: seed of the whole study, in [0, 2^32).
        seed: seed of the starting point, in [0, 2^32); an array of seeds gives an array of keys.
        data_seed: seed of the order of mini-batches, in [0, 2^32), or an array.
        noise_seed: seed of a random cost, in [0, 2^32), or an array of the shape of `seed`.
        perturbation_seed: seed of the perturbation of a branch, in [0, 2^32), or an array.

    Examples:
        >>> import jax.numpy as jnp
        >>> a, b = run_keys(0, seed=1), run_keys(0, seed=2)
        >>> bool(jnp.all(a.order == b.order)), bool(jnp.all(a.init == b.init))
        (True, False)
    """
    seeds = (
        ("root_seed", root_seed),
        ("seed", seed),
        ("data_seed", data_seed),
        ("noise_seed", noise_seed),
        ("perturbation_seed", perturbation_seed),
    )
    for name, value in seeds:
        if isinstance(value, Tracer):
            raise InputError(
                f"run_keys: {name} is traced, but seeds must be concrete; call it outside jit "
                f"and vmap with an array of seeds, and map over its keys"
            )
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iu" or np.any(numbers < 0) or np.any(numbers >= 2**32):
            raise InputError(f"run_keys: {name} = {value!r}, expected a whole number in [0, 2^32)")

    init, order, probes, noise, perturbations = _purposes(int(root_seed))
    return Streams(
        _keys(_folded(init, seed)),
        _keys(_folded(order, data_seed)),
        _keys(_folded(probes, seed)),
        _keys(_folded(_folded(noise, seed), noise_seed)),
        _keys(_folded(perturbations, perturbation_seed)),
    )


@lru_cache
def key_type() -> Any:
    """Return the type of the keys of `run_keys`."""
    return jax.eval_shape(lambda: _keys(np.zeros(2, np.uint32))).dtype


def check_key(key: Any) -> None:
    """Check that an argument is one random key."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not (typed and shape == ()) and not (dtype == np.uint32 and shape == (2,)):
        short = " ".join(repr(key).split())  # the repr of several keys has several lines
        raise InputError(f"key = {short:.80}, expected a random key, such as jax.random.key(0)")


@lru_cache
def _purposes(root_seed):
    """Return the key of each stream, as numbers [5, 2]."""
    keys = _folded(np.array([0, root_seed], np.uint32), np.arange(5))
    keys.flags.writeable = False  # since it is cached
    return keys


def _keys(numbers):
    # Only with threefry does a vmapped program draw the same numbers as each run alone.
    return jax.random.wrap_key_data(numbers, impl="threefry2x32")


def _folded(key, seed):
    """Return keys [..., 2] folded with integers [...], as by `jax.random.fold_in`.

    The function uses NumPy, since JAX would compile five programs for every number of seeds, which
    takes longer than a small sweep. The generator is Threefry-2x32 with 20 rounds of Salmon et al.
    (SC 2011).
    """
    seed = np.asarray(seed, np.uint32)
    first, second = key[..., 0], key[..., 1]
    parts = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
    with np.errstate(over="ignore"):  # sums are modulo 2^32
        left, right = np.broadcast_arrays(first, seed + second)
        for group in range(5):
            for turn in ROTATIONS[group % 2]:
                left = left + right
                right = left ^ (right << turn | right >> (32 - turn))
            left = left + parts[(group + 1) % 3]
            right = right + parts[(group + 2) % 3] + np.uint32(group + 1)
    return np.stack([left, right], axis=-1)
