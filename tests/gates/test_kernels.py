"""Gate: kernels and loops of a compiled step on a GPU, which need not be present."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PROGRAM = """
import json, roofline
config = roofline.Config(batch_sizes=(32,), networks=(64,))
print(json.dumps(roofline.numbers(roofline.run(config))))
"""


@pytest.mark.long
def test_a_step_on_a_gpu_has_few_more_kernels_than_one_written_by_hand():
    """A new process compiles with the optimizations that the tests disable."""
    pytest.importorskip("jax_plugins.xla_cuda12", reason="the group `accelerators` is missing")
    drop = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=env | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(EXPERIMENTS)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(output.splitlines()[-1])
    pairs = list(zip(found["kernels"], found["kernels_by_hand"], strict=True))
    assert len(pairs) == 6
    assert all(15 < kernels <= 1.25 * by_hand for kernels, by_hand in pairs), pairs
    assert all(found["is_step_known"])
    assert found["unknown_loops"] == [1] * 6  # the loop over chunks
    assert found["transfers"] == [0] * 6
