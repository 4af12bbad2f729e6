"""Check that the bits of a run do not depend on its place in the slab.

    bits of run i of slab (r_1, ..., r_n)  =  bits of run n + 1 - i of slab (r_n, ..., r_1)

LLVM computes the last runs of a loop over runs one by one if it reads several numbers of each run,
such as the inputs of a small convolution or of a sum of a few squares. It then fuses other products
and sums than for the first runs, so that the last bits of these runs differ.
"""

import weakref
from collections import deque

import jax
import numpy as np

from gdjax.base import slabs
from gdjax.descent import block_loop
from gdjax.sweeps.binding import numeric_roles
from gdjax.sweeps.checkpoint import to_host
from gdjax.sweeps.program import Program, tree_nbytes

# Numbers of steps that are checked, each with the maximum number of bytes of the state of a run.
# Of 60 small programs, 2 steps found 9 of the 11 whose bits depended on the slab, 32 steps all.
CHECKED_STEPS = ((32, 2**12), (2, 2**62))
STREAMS = ("seed", "data_seed", "noise_seed")

_checked: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # results, by executable


def have_equal_bits(program: Program) -> bool | None:
    """Return whether runs have the same bits in a slab and in its reversal; None if unchecked.

    The runs have fixed seeds and settings, so that the result, on which the width may depend, is a
    property of the program and not of a grid. Metrics are not computed. It is no proof. Programs
    that call functions of the host are not checked, since these may count their calls.
    """
    if program.width == 1:
        return True
    if any(trace.has_callback for trace in program.facts.traces.values()):
        return None
    executable = program.compiled_block.executable
    if executable not in _checked:
        values = _example_values(program)
        forward = _first_block(program, values)
        backward = _first_block(program, {axis: each[::-1] for axis, each in values.items()})
        _checked[executable] = all(
            a.tobytes() == np.ascontiguousarray(b[::-1]).tobytes()
            for a, b in zip(forward, backward, strict=True)
        )
        program.release()
    return _checked[executable]


def _example_values(program):
    """Return values of the runs of a slab, by axis name: they differ in their seeds."""
    numeric, values = numeric_roles(program.roles), {}
    for axis, of_grid in program.axes.by_name.items():
        if axis in STREAMS:
            values[axis] = np.arange(program.width)
        elif axis in numeric:
            value = 0.1 if of_grid.dtype.kind == "f" else 1
            values[axis] = np.full(program.width, value, of_grid.dtype)
        else:
            values[axis] = np.repeat(of_grid[:1], program.width)
    return values


def _first_block(program, values):
    """Return the arrays of runs after a block of a few steps without metrics."""
    device, capacity = program.devices[0], program.descent.capacity
    keys, settings = program.inputs.initial(values, device)
    shared, noise = program.shared(device), program.inputs.noise(values, device)
    carry = program.initial_program(keys, settings, shared)
    state_nbytes = tree_nbytes((program.facts.params, program.facts.opt_state))
    num_steps = next(steps for steps, limit in CHECKED_STEPS if state_nbytes <= limit)
    schedule = program.schedule._replace(num_steps=num_steps)
    order = program.inputs.order(values)
    pending = deque(schedule.recorded_steps().tolist())
    chunks, rows = block_loop.block_inputs(schedule, pending, order, num_steps, capacity)
    if program.inputs.has_own_order:
        rows = slabs.place(rows, device)
    carry, records, _ = program.descent.block(carry, settings, rows, noise, shared, chunks)
    count = int(np.sum(chunks.first >= 0))
    recorded = [np.asarray(leaf)[:, :count] for leaf in jax.tree.leaves(records)]
    return [to_host(leaf) for leaf in jax.tree.leaves(carry)] + recorded
