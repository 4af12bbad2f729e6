"""Caches of compiled programs and of the traces of a user's functions."""

from gdjax.base import slabs
from gdjax.problems import mean_check, trace
from gdjax.sweeps import identity


def clear_caches() -> None:
    """Forget compiled programs, and traces of functions that gdjax was given.

    Later calls trace and compile anew, with the same results. A compiled program keeps the arrays
    that its functions close over; gdjax keeps programs with at most 2^26 bytes of such arrays in
    all, of which a program may hold a copy. `jax.clear_caches` clears the caches of JAX itself.

    Examples:
        >>> clear_caches()
    """
    slabs.forget_executables()
    for cache in (trace._keys, mean_check._MEANS, identity._hashes):
        cache.clear()
