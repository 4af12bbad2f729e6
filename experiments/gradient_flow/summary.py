"""Summary of the distance of descent from the gradient flow."""

import numpy as np
import xarray as xr

from experiments.shared.trees import datasets


def largest_distances(part: xr.Dataset) -> np.ndarray:
    """Return the largest distance from the flow over time, for each rate."""
    return part.distance.max("time").values


def order(part: xr.Dataset, fitted: int) -> float:
    """Return the slope of log(largest distance) against log(rate), at the smallest rates."""
    rates, largest = part.rate.values[-fitted:], largest_distances(part)[-fitted:]
    return float(np.polyfit(np.log(rates), np.log(largest), 1)[0])


def numbers(tree: xr.DataTree) -> dict:
    """Return orders, errors of the flow, and relative changes of a^2 - b^2."""
    summary: dict = {}
    for name, part in datasets(tree).items():
        largest = largest_distances(part)
        summary |= {
            f"{name}_order": order(part, tree.attrs["fitted"]),
            f"{name}_largest_distances": largest.tolist(),
            f"{name}_last_ratio": float(largest[-2] / largest[-1]),
            f"{name}_flow_steps": int(part.solver_steps),
            f"{name}_flow_arrived": bool(part.arrived),
        }
    equal, unequal, digits = (datasets(tree)[name] for name in ("equal", "unequal", "digits"))
    a, b = tree.attrs["unequal"]
    # A step multiplies a^2 - b^2 by 1 - eta^2 (s - ab)^2.
    lost = 1 - unequal.balance.values[:, -1] / (a**2 - b**2)
    balance_order = np.polyfit(np.log(unequal.rate.values[-4:]), np.log(lost[-4:]), 1)[0]
    return summary | {
        "equal_flow_error": float(abs(equal.flow_product - equal.known).max()),
        "unequal_balance_lost_by_flow": float(
            np.max(np.abs(unequal.flow_balance.values / (a**2 - b**2) - 1))
        ),
        "unequal_balance_lost_by_descent": lost.tolist(),
        "unequal_balance_order": float(balance_order),
        "digits_flow_error_at_looser_tolerance": float(digits.flow_error.max()),
        "digits_first_time": float(digits.time[0]),
        "digits_distances_at_first_time": digits.distance.values[:, 0].tolist(),
        "digits_cost_at_end": float(digits.flow_cost[-1]),
        "digits_cost_at_end_by_rate": digits.cost.values[:, -1].tolist(),
        "digits_largest_rate": float(digits.rate[0]),
        "digits_smallest_rate": float(digits.rate[-1]),
    }
