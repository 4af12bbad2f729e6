"""Fixtures shared by the tests of sweeps."""

import inspect

import pytest
from small_problems import stored

from gdjax.sweeps import Sweep, executor, fit, slab_runner
from gdjax.sweeps.check import Asked
from gdjax.sweeps.continued.branch_spec import BranchSpec


@pytest.fixture(autouse=True, scope="module")
def slabs_of_two_runs():
    """Compute all programs of this folder in slabs of two runs, so that sweeps have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CPU_WIDTHS", ((2, 2**60),))
        yield


@pytest.fixture
def computed(monkeypatch):
    """Return a list that collects the tiles that are computed."""
    tiles, compute = [], executor.run_tiles

    def counted(plan, new, *rest):
        tiles.extend(new)
        return compute(plan, new, *rest)

    monkeypatch.setattr(executor, "run_tiles", counted)
    return tiles


@pytest.fixture
def first_steps(monkeypatch):
    """Return a list that collects the step from which each slab is computed."""
    steps, blocks = [], slab_runner.start_blocks

    def counted(program, values, device, state=None, **options):
        steps.append(0 if state is None else state.step)
        return blocks(program, values, device, state, **options)

    monkeypatch.setattr(slab_runner, "start_blocks", counted)
    return steps


@pytest.fixture
def user_settings(monkeypatch, request):
    """Disable the suite's annotation checks, to test errors of the library itself."""
    for kind in (Sweep, BranchSpec, Asked):
        monkeypatch.setattr(kind, "__init__", inspect.unwrap(kind.__init__))
    if hasattr(request.module, "sweep"):
        monkeypatch.setattr(request.module, "sweep", inspect.unwrap(request.module.sweep))


@pytest.fixture(scope="module")
def stored_sweep(tmp_path_factory, slabs_of_two_runs):
    """Return the path of a finished sweep, which tests must not modify."""
    path = tmp_path_factory.mktemp("stored") / "s.zarr"
    stored(path)
    return path
