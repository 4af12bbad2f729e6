"""A Dataset like that of `gdjax.landscape.plane`, created without computation."""

import numpy as np
import xarray as xr

SIDE = np.linspace(-2, 2, 9)


def plane(cost=None, *, length=(1.0, 1.0), path=False):
    """Return a quadratic cost on a plane, optionally with a path that ends on it."""
    a, b = np.meshgrid(SIDE, SIDE / 2, indexing="ij")
    observed = xr.Dataset(
        {"cost": (("a", "b"), a**2 + b**2 + 0.01 if cost is None else cost)},
        {
            "a": ("a", SIDE, {"long_name": "first direction", "length": length[0]}),
            "b": ("b", SIDE / 2, {"long_name": "second direction", "length": length[1]}),
        },
        {"result": "trajectory_plane" if path else "slice"},
    )
    if path:
        x, y = np.linspace(1.5, 0, 6), np.linspace(0.8, 0, 6)
        inside = x**2 + y**2 + 0.01
        observed = observed.assign(
            path_a=("snapshot_step", x),
            path_b=("snapshot_step", y),
            path_off=("snapshot_step", np.linspace(0.5, 0, 6)),
            path_cost=("snapshot_step", inside + np.linspace(0.5, 0, 6)),
            path_cost_in_slice=("snapshot_step", inside),
            explained=("component", np.array([0.75, 0.2, 0.05])),
        ).assign_coords(snapshot_step=("snapshot_step", 10 * np.arange(6)))
    return observed
