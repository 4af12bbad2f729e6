"""Gate: kernels and loops of a compiled step on a GPU, which need not be present."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.processes import python

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json
from experiments.roofline import __main__ as roofline
config = roofline.Config(batch_sizes=(32,), networks=(64,))
print(json.dumps(roofline.numbers(roofline.run(config))))
"""
RECURRENT = """
import jax, jax.numpy as jnp, json
import gdjax as gd

def planned(length):
    def cost(w, x):
        step = lambda h, x: (jnp.tanh(w * h + x), None)
        return jnp.mean(jax.lax.scan(step, jnp.zeros((64, 8)), x.T[:, :, None])[0] ** 2)

    problem = gd.Problem(lambda key: jnp.ones(8), cost, jnp.ones((64, length)))
    sweep = gd.Sweep(problem, gd.axes(learning_rate=[0.1, 0.2]), 64, record_every=32)
    result = gd.sweeps.plan(sweep, device="h100")
    return result.kernels[0], result.step_nbytes[0], result.seconds_low, result.seconds_high

print(json.dumps([planned(length) for length in (4, 20)]))
"""
PAGE = ROOT / "docs/how_to/before_renting.md"
pytestmark = pytest.mark.long


def run(program: str) -> str:
    """Return the output of a program, compiled with the optimizations that tests disable."""
    pytest.importorskip("jax_plugins.xla_cuda13", reason="the group `accelerators` is missing")
    drop = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    folders = (str(ROOT), *filter(None, [env.get("PYTHONPATH")]))
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(folders)}
    return python("-c", program, env=env).stdout


def test_a_step_on_a_gpu_has_few_more_kernels_than_one_written_by_hand():
    result = json.loads(run(PROGRAM).splitlines()[-1])
    pairs = list(zip(result["kernels"], result["kernels_by_hand"], strict=True))
    assert len(pairs) == 6
    assert all(15 < kernels <= 1.25 * by_hand for kernels, by_hand in pairs), pairs
    assert all(result["is_step_known"])
    assert result["unknown_loops"] == [1] * 6  # the loop over chunks
    assert result["transfers"] == [0] * 6


def test_the_page_about_renting_a_gpu_shows_the_slabs_that_the_sweep_would_run():
    page = PAGE.read_text("utf8")
    (script,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    ((shown),) = re.findall(r"^```\{code-block\} none\n(.*?)^```", page, re.M | re.S)
    assert run(script).split() == shown.split()


def test_kernels_of_loops_within_a_step_count_as_often_as_they_run():
    """A network of 4 and one of 20 recurrent steps differ by 16 times the kernels of a step."""
    kernels, nbytes, low, high = np.array(json.loads(run(RECURRENT).splitlines()[-1])).T
    per_step = (kernels[1] - kernels[0]) / 16
    assert per_step == round(per_step) > 2
    assert kernels[0] - 4 * per_step > 5
    assert nbytes[1] - nbytes[0] > 16 * 8 * 64 * 4
    assert (low > 0).all()
    assert (low < high).all()
