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
PAGE = ROOT / "docs/how_to/before_renting.md"
pytestmark = pytest.mark.long


def run(program: str) -> str:
    """Return the output of a program, compiled with the optimizations that tests disable."""
    pytest.importorskip("jax_plugins.xla_cuda13", reason="the group `accelerators` is missing")
    drop = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return python("-c", program, env=env).stdout


def test_a_step_on_a_gpu_has_few_more_kernels_than_one_written_by_hand():
    result = json.loads(run(PROGRAM).splitlines()[-1])
    pairs = list(zip(result["kernels"], result["kernels_by_hand"], strict=True))
    assert len(pairs) == 6
    assert all(15 < kernels <= 1.25 * by_hand for kernels, by_hand in pairs), pairs
    assert all(result["is_step_known"])
    assert result["unknown_loops"] == [1] * 6  # the loop over chunks
    assert result["transfers"] == [0] * 6


def test_the_page_about_renting_a_gpu_prints_memory_kernels_and_transfers():
    (script,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf8"), re.M | re.S)
    lines = run(script).splitlines()
    memory, kernels, transfers = np.array([re.findall(r"\d[\d,]*", line)[1:] for line in lines]).T
    assert all(15 < int(number) < 30 for number in kernels)
    for small, large in (memory, transfers):  # of 64 and 1,024 runs
        assert 8 < int(large.replace(",", "")) / int(small.replace(",", "")) < 16.5
