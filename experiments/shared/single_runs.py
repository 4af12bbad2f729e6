"""A single descent, with snapshots of its parameters."""

import optax

import gdjax as gd


def with_snapshots(
    problem: gd.Problem,
    rule: optax.GradientTransformation,
    steps: int,
    every: int,
    *,
    batch_size: int,
    seed: int,
) -> gd.descent.Descent:
    """Return the descent of a seed, recorded at the start and every `every` steps.

    Descents by the same `rule` share a compilation.
    """
    keys = gd.run_keys(0, seed=seed)
    return gd.descend(
        problem,
        rule,
        problem.init(keys.init),
        steps,
        key=keys.order,
        batch_size=batch_size,
        record_every=every,
        snapshot_every=every,
    )
