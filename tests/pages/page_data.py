"""Data for tests of pages: a sweep, a landscape and a census with known numbers."""

import json

import numpy as np
import plane_of_a_bowl
import xarray as xr

HOSTILE = "</script><script>window.broken = true</script><img src=x onerror='window.broken = true'>"
RATES, SEEDS, STEPS = np.array([0.1, 1.0, 10.0]), np.arange(4), np.arange(0, 50, 10)


def sweep(label="training cost"):
    """Return a sweep of 3 learning rates, 4 seeds and 2 momenta.

    The runs with the largest learning rate and seed 3 diverge; another run is not finished.
    """
    random = np.random.default_rng(0)
    cost = np.exp(-RATES[:, None, None, None] * STEPS / 40) * random.uniform(1, 2, (3, 4, 2, 1))
    cost[2, 3, :, 2:] = np.inf
    outcome = np.zeros((3, 4, 2), np.int8)
    outcome[2, 3] = 3
    outcome[0, 0, 1] = -1
    grid = ("learning_rate", "seed", "momentum")
    meanings = "not_converged converged stalled diverged"
    identity = {"problem": {"name": HOSTILE}, "samples": 100, "batch_size": None}
    return xr.Dataset(
        {
            "cost": ((*grid, "step"), cost.astype(np.float32), {"long_name": label}),
            "test_accuracy": ((*grid, "step"), (1 / (1 + cost)).astype(np.float32)),
            "outcome": (grid, outcome, {"flag_values": [0, 1, 2, 3], "flag_meanings": meanings}),
        },
        {"learning_rate": RATES, "seed": SEEDS, "momentum": [0.0, 0.9], "step": STEPS},
        {"identity": json.dumps(identity)},
    )


def plane():
    """Return the slice of a quadratic cost, with a descent to its minimum."""
    known = plane_of_a_bowl.plane(path=True)
    return known.assign_coords(a=known.a.assign_attrs(long_name=HOSTILE))


def census():
    """Return a census of three minima at the corners of a triangle."""
    distance = np.array([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]])
    barrier = np.array([[0.0, 0.5, 1.5], [0.5, 0, 2.5], [1.5, 2.5, 0]])
    pair = ("compared", "compared_with")
    return xr.Dataset(
        {
            "kind": ("run", np.zeros(10)),
            "count": ("minimum", [5, 3, 2]),
            "share": ("minimum", [0.5, 0.3, 0.2]),
            "minimum_cost": ("minimum", [0.1, 0.2, 0.4]),
            "sharpness": ("minimum", [1.0, 2.0, 3.0]),
            "barrier": (pair, barrier),
            "matched_barrier": (pair, barrier / 2),
            "distance": (pair, distance),
            "matched_distance": (pair, distance),
            "position": (("compared", "plane"), [[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]),
            "position_share": ((), 1.0),
        },
        attrs={"compared": "coordinates of the canonical form"},
    )
