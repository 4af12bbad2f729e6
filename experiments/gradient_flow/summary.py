"""Summary of the distance of descent from the gradient flow."""

import numpy as np
import xarray as xr


def order(dataset: xr.Dataset, prefix: str) -> float:
    """Return the slope of log(largest distance) against log(rate).

    The slope is fitted to the smallest rates.
    """
    fitted = dataset.attrs["fitted"]
    rates = dataset[f"{prefix}_rate"].values[-fitted:]
    largest = dataset[f"{prefix}_distance"].max(f"{prefix}_time").values[-fitted:]
    return float(np.polyfit(np.log(rates), np.log(largest), 1)[0])


def numbers(dataset: xr.Dataset) -> dict:
    """Return orders, errors of the flow, and relative changes of a^2 - b^2."""
    summary: dict = {}
    for prefix in ("equal", "unequal", "digits"):
        largest = dataset[f"{prefix}_distance"].max(f"{prefix}_time").values
        summary |= {
            f"{prefix}_order": order(dataset, prefix),
            f"{prefix}_largest_distances": [float(d) for d in largest],
            f"{prefix}_last_ratio": float(largest[-2] / largest[-1]),
            f"{prefix}_flow_steps": int(dataset[f"{prefix}_solver_steps"]),
            f"{prefix}_flow_arrived": bool(dataset[f"{prefix}_arrived"]),
        }
    balance = dataset.unequal_flow_balance.values
    a, b = dataset.attrs["unequal"]
    # A step multiplies a^2 - b^2 by 1 - eta^2 (s - ab)^2.
    balance_lost = 1 - dataset.unequal_balance.values[:, -1] / (a**2 - b**2)
    return summary | {
        "equal_flow_error": float(abs(dataset.equal_flow_product - dataset.equal_known).max()),
        "unequal_balance_lost_by_flow": float(np.max(np.abs(balance / (a**2 - b**2) - 1))),
        "unequal_balance_lost_by_descent": [float(d) for d in balance_lost],
        "unequal_balance_order": float(
            np.polyfit(np.log(dataset.unequal_rate.values[-4:]), np.log(balance_lost[-4:]), 1)[0]
        ),
        "digits_flow_error_at_looser_tolerance": float(dataset.digits_flow_error.max()),
        "digits_first_time": float(dataset.digits_time[0]),
        "digits_distances_at_first_time": [float(d) for d in dataset.digits_distance.values[:, 0]],
        "digits_cost_at_end": float(dataset.digits_flow_cost[-1]),
        "digits_cost_at_end_by_rate": [float(c) for c in dataset.digits_cost.values[:, -1]],
        "digits_largest_rate": float(dataset.digits_rate[0]),
        "digits_smallest_rate": float(dataset.digits_rate[-1]),
    }
