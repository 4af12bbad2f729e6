"""Where descents ended, each told what it is: polished to the point beside it, and certified.

    end -> Newton's method to |g| <= tolerance -> minimum, saddle, flat, not stationary, diverged

Where a cost falls for ever, as towards the infinite weights that sigmoids need to say exactly 0 or
1, gradient and curvature both go to zero, and a point far out looks like a minimum. It is told from
one by polishing on: a minimum stays where it is, such a point slides away.

All in float64, many runs as one program. Ten starts that have not moved yet, on a bowl:

>>> from gdjax.problems import bowl
>>> problem = bowl([1.0, 10.0])
>>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 10))
>>> ends = certify(problem, starts, key=jax.random.key(1))
>>> [KINDS[kind] for kind in np.unique(ends.kind)], bool(np.all(np.abs(ends.params) < 1e-9))
(['minimum'], True)
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from gdjax.errors import InputError
from gdjax.geometry import classify, critical, hessian_vector_product, polish
from gdjax.geometry.derivatives import value_and_gradient
from gdjax.problems.checks import check_runs
from gdjax.problems.problem import Problem
from gdjax.runs import Program, Slab, in_slabs, over_runs

KINDS = (*critical.KINDS, "sliding", "diverged")
MINIMUM, SLIDING, DIVERGED = (KINDS.index(name) for name in ("minimum", "sliding", "diverged"))

GRADIENT_TOLERANCE = 1e-8
EIGENVALUE_TOLERANCE = 1e-4
STEPS = 200  # of polishing
TOLERANCE = 1e-3  # of places
FURTHER = 1e-3  # of the gradient's norm, for the proof that a minimum stays where it is
NUMBERS = 2**20  # of Hessians that a device holds at a time


class Ends(NamedTuple):
    """Ends of runs after polishing, with their certificates.

    Args:
        kind: position in `KINDS`.
        params: where polishing ended; zeros for runs that diverged.
        live: parameters on which the cost depends at all, flat.
        cost_before: where the run stopped; +inf for runs that diverged, as all costs.
        cost: after polishing.
        gradient_norm_before: where the run stopped.
        gradient_norm: after polishing.
        moved: how far polishing went, in the units of the parameters. A run that has nearly
            arrived is not moved far; one that is may have changed its valley.
        slid: how far it went on from there to a gradient a thousand times as small.
        smallest: eigenvalue of the Hessian, of the live coordinates.
        largest: likewise: the sharpness.
        dead: coordinates set aside in the certificate.
        nullity: eigenvalues within the tolerance of zero among the live ones.
    """

    kind: Int[np.ndarray, " runs"]
    params: PyTree
    live: Bool[np.ndarray, "runs parameters"]
    cost_before: Float[np.ndarray, " runs"]
    cost: Float[np.ndarray, " runs"]
    gradient_norm_before: Float[np.ndarray, " runs"]
    gradient_norm: Float[np.ndarray, " runs"]
    moved: Float[np.ndarray, " runs"]
    slid: Float[np.ndarray, " runs"]
    smallest: Float[np.ndarray, " runs"]
    largest: Float[np.ndarray, " runs"]
    dead: Int[np.ndarray, " runs"]
    nullity: Int[np.ndarray, " runs"]


def certify(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    tolerance: float = TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    eigenvalue_tolerance: float = EIGENVALUE_TOLERANCE,
    steps: int = STEPS,
) -> Ends:
    """Polish the ends of many runs and tell what each one is.

    Args:
        problem: whose cost, over all its data.
        params: where the runs stopped, with a leading axis of runs. What is not finite diverged.
        key: for the certificates' random probes.
        tolerance: a minimum whose place is not known to it is none, but "sliding".
        gradient_tolerance: a gradient norm up to it counts as zero; polishing goes to a tenth of
            it if it can.
        eigenvalue_tolerance: of eigenvalues, relative to the largest |eigenvalue|.
        steps: of polishing, at most. A slow descent that stopped far from its end needs more.

    Raises:
        InputError: params without a leading axis of runs; a cost that cannot be descended; a
            tolerance that is no number above 0, or steps below 0.
    """
    tolerances = {
        "tolerance": tolerance,
        "gradient_tolerance": gradient_tolerance,
        "eigenvalue_tolerance": eigenvalue_tolerance,
    }
    for name, value in tolerances.items():
        if not 0 < value < np.inf:
            raise InputError(f"certify: {name} = {value}, expected a number above 0")
    if steps < 0:
        raise InputError(f"certify: steps = {steps}, expected 0 or more")
    runs = check_runs(problem, params)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    finite = np.all([np.isfinite(leaf.reshape(runs, -1)).all(axis=1) for leaf in leaves], axis=0)
    with jax.enable_x64(True):
        params = jax.tree.unflatten(
            jax.tree.structure(params),
            [
                np.where(finite.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0).astype(np.float64)
                for leaf in leaves
            ],
        )
        task = _Certified(
            problem.cost, float(gradient_tolerance), float(eigenvalue_tolerance), int(steps)
        )
        found = _over(task, params, jax.random.split(key, runs), problem.data)
    polished, live, before, after, moved, slid, certificate = found
    kind = np.where((certificate.kind == MINIMUM) & ~(slid <= tolerance), SLIDING, certificate.kind)
    infinite = np.where(finite, 0.0, np.inf)
    return Ends(
        kind=np.where(finite, kind, DIVERGED),
        params=polished,
        live=live,
        cost_before=before[0] + infinite,
        cost=after[0] + infinite,
        gradient_norm_before=before[1] + infinite,
        gradient_norm=after[1] + infinite,
        moved=moved,
        slid=slid,
        smallest=certificate.smallest,
        largest=certificate.largest,
        dead=certificate.dead,
        nullity=certificate.nullity,
    )


class _Certified(NamedTuple):
    """One run: polished and certified. A record, so that equal ones share a program."""

    cost: Callable
    gradient_tolerance: float
    eigenvalue_tolerance: float
    steps: int

    def __call__(self, run, data):
        params, key = run
        key_probe, key_certificate = jax.random.split(key)
        flat, unravel = ravel_pytree(params)
        value, gradient = value_and_gradient(self.cost, params, data=data)

        def further(start, tolerance):
            found = polish(self.cost, start, data, steps=self.steps, tolerance=tolerance)
            return found.params, found

        # Twice, written once: it is most of what has to be compiled.
        tolerances = self.gradient_tolerance / 10 * jnp.array([1.0, FURTHER], flat.dtype)
        both = jax.lax.scan(further, params, tolerances)[1]
        found, on = (jax.tree.map(lambda a, k=k: a[k], both) for k in range(2))
        certificate = classify(
            self.cost,
            found.params,
            data,
            key=key_certificate,
            gradient_tolerance=self.gradient_tolerance,
            eigenvalue_tolerance=self.eigenvalue_tolerance,
        )
        there = ravel_pytree(found.params)[0]
        slope = ravel_pytree(value_and_gradient(self.cost, found.params, data=data)[1])[0]
        probe = unravel(jax.random.normal(key_probe, flat.shape, flat.dtype))
        bent = ravel_pytree(hessian_vector_product(self.cost, found.params, probe, data=data))[0]
        norm = jnp.linalg.norm(ravel_pytree(gradient)[0])
        return (
            found.params,
            (slope != 0) | (bent != 0),
            (value, norm),
            (found.cost, found.gradient_norm),
            jnp.linalg.norm(there - flat),
            jnp.linalg.norm(ravel_pytree(on.params)[0] - there),
            certificate,
        )


def _over(task, params, keys, data):
    """A function of one run, over all of them in slabs of one width; results on the host."""
    size = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    devices = tuple(jax.local_devices())
    if devices[0].platform == "cpu":
        # LAPACK's calls wait for threads of the pool in which they run themselves, and with a
        # device a core none is left: two devices on two cores stood still for ever.
        devices = devices[:1]
    width = int(np.clip(NUMBERS // size**2, 8, 256))
    slab = Slab(min(width, -(-len(keys) // len(devices))), devices)
    return in_slabs(_program(task, slab), slab, (params, keys), (slab.share(data),))


@lru_cache(maxsize=16)
def _program(task: _Certified, slab: Slab) -> Program:
    return Program(over_runs(task, slab, (0, None)))
