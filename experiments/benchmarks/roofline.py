"""Bound on the rate of a step on an accelerator, from the operations and bytes of its program.

    share = min(1, (operations / bytes) / (peak rate / bandwidth))

A step of gradient descent reads the weights twice, for the forward pass and for the update, and
writes them once. With B samples per step and P parameters these are 12 P bytes for 4 B P
operations, so that the share is at most (B / 3) / (peak rate / bandwidth), as long as the weights
do not stay in a cache.

>>> round(ideal_share(32, H100), 2)
0.53
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.timing import PARAMETERS


class Accelerator(NamedTuple):
    """Peak rate of float32 products without tensor cores, and bandwidth of the memory."""

    name: str
    operations_per_second: float
    bytes_per_second: float


H100 = Accelerator("H100 SXM", 67e12, 3.35e12)
"""Rates of the data sheet. With JAX's default precision, products use TF32 instead."""

BATCH_SIZES = (1, 8, 32, 128, 512, 4000)


def ideal_share(batch_size: int, accelerator: Accelerator) -> float:
    """Return the share of the peak rate if only weights are moved, twice read and once written."""
    intensity = 4 * batch_size * PARAMETERS / (12 * PARAMETERS)
    return min(1.0, intensity * accelerator.bytes_per_second / accelerator.operations_per_second)


def step_program(runs: int, batch_size: int) -> tuple[Any, tuple[Any, ...]]:
    """Return a step of many digit networks on one batch, and the shapes of its arguments."""
    import jax
    import optax

    import gdjax as gd

    problem = gd.problems.digits("mnist5k")
    params = jax.eval_shape(jax.vmap(problem.init), jax.random.split(jax.random.key(0), runs))
    optimizer = optax.sgd(0.1)

    def step(params, batch):
        state = gd.descent.init(optimizer, params)
        return gd.descent.step(problem.cost, optimizer, state, batch)[0].params

    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype), problem.data
    )
    return jax.jit(jax.vmap(step, (0, None)), donate_argnums=0), (params, batch)


def bounds(
    runs: int, batch_sizes: Sequence[int] = BATCH_SIZES, accelerator: Accelerator = H100
) -> dict[str, float]:
    """Return operations, bytes and shares of the peak rate of a step, by batch size.

    Operations and bytes are those that the compiler counts in its program for this machine, whose
    fusions differ from those for an accelerator.

    Args:
        runs: number of networks.
        batch_sizes: samples per step, the same for all networks.
        accelerator: peak rate and bandwidth.
    """
    balance = accelerator.operations_per_second / accelerator.bytes_per_second
    summary: dict[str, float] = {}
    for batch_size in batch_sizes:
        program, arguments = step_program(runs, batch_size)
        costs = program.lower(*arguments).compile().cost_analysis()
        operations, moved = costs["flops"], costs["bytes accessed"]
        summary |= {
            f"roofline_{batch_size}_operations": operations,
            f"roofline_{batch_size}_bytes": moved,
            f"roofline_{batch_size}_share": min(1.0, operations / moved / balance),
            f"roofline_{batch_size}_ideal_share": ideal_share(batch_size, accelerator),
        }
    return summary
