"""What is the limit of gradient descent for small steps, and how far from it are finite steps?

    dw/dt = -grad C(w)   against   w_{k+1} = w_k - eta grad C(w_k),   compared at t = eta k

    python -m experiments.gradient_flow           (about 40 s on two cores)

Expected: if the learning rate is halved, the distance from the flow (order 1 within 0.1) and the
drift of a^2 - b^2 along descents are also halved; the error of the computed flow is below 1e-8 on
the two factors.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.trees import datasets, tree_of
from gdjax.dynamics import FlowStatus, distance_from_flow
from gdjax.plots.style import BLACK, CYCLE, Figure

TARGET = 2.0  # target s of the product of the two factors
EQUAL = (0.1, 0.1)  # start on the two factors, from which the flow has a closed form
UNEQUAL = (0.3, 1.7)  # second start on the two factors, to test the conserved quantity
FACTORS = (0.16, 3.2)  # largest learning rate and end time on the two factors


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flow."""

    data: str = "mnist5k"  # name of the data set
    samples: int = 300  # number of images
    digit_rate: float = 1.6  # largest learning rate on the digits
    digit_time: float = 400.0  # end time on the digits
    rates: int = 6  # number of learning rates, each half of the previous one
    times: int = 25  # approximate number of times at which descents and flow are compared
    fitted: int = 4  # number of the smallest learning rates, which are used to fit the order
    tolerance: float = 1e-8  # relative tolerance of the flow on digits; default on the factors


def compared(config: Config, problem, start, largest_rate: float, end_time: float, **options):
    """Return a Dataset of distances and costs, and the parameters of descents and flow."""
    rates = largest_rate / 2.0 ** np.arange(config.rates)
    every = max(1, round(end_time / largest_rate / config.times)) * largest_rate
    at = every * np.arange(1, max(1, round(end_time / every)) + 1)
    descents = jax.jit(
        lambda problem, w: distance_from_flow(problem, w, learning_rates=rates, times=at, **options)
    )(gd.problems.as_problem(problem), start)
    comparison = xr.Dataset(
        {
            "distance": (("rate", "time"), np.asarray(descents.distance)),
            "cost": (("rate", "time"), np.asarray(descents.cost)),
            "flow_cost": ("time", np.asarray(descents.flow.cost)),
            "arrived": int(descents.flow.status) == FlowStatus.COMPLETED,
            "solver_steps": int(descents.flow.num_steps),
        },
        {"rate": rates, "time": at},
    )
    return comparison, *jax.tree.map(np.asarray, (descents.params, descents.flow.params))


def factors(config: Config) -> tuple[xr.Dataset, xr.Dataset]:
    """Compare descents on two factors with the flow, from equal and unequal factors.

    From equal factors, the flow is also computed in closed form.
    """

    def cost(w):
        return gd.problems.FUNCTIONS["two_factors"].f(w, target=TARGET)

    equal, descent, flow = compared(config, cost, jnp.array(EQUAL), *FACTORS)
    growth = np.exp(2 * TARGET * equal.time)
    equal["known"] = TARGET * growth / (growth - 1 + TARGET / EQUAL[0] ** 2)
    equal["flow_product"] = ("time", np.prod(flow, axis=1))
    equal["product"] = (("rate", "time"), np.prod(descent, axis=-1))
    unequal, descent, flow = compared(config, cost, jnp.array(UNEQUAL), *FACTORS)
    unequal["flow_balance"] = ("time", flow[:, 0] ** 2 - flow[:, 1] ** 2)
    unequal["balance"] = (("rate", "time"), descent[..., 0] ** 2 - descent[..., 1] ** 2)
    return equal, unequal


def run(config: Config) -> xr.DataTree:
    """Return a tree with the comparisons of descents and flow for each case."""
    with jax.enable_x64(True):
        equal, unequal = factors(config)
        problem = gd.problems.digits(config.data, samples=config.samples)
        start, settings = problem.init(gd.run_keys(0).init), (config.digit_rate, config.digit_time)
        digits = compared(config, problem, start, *settings, rtol=config.tolerance)[0]
    return tree_of({"equal": equal, "unequal": unequal, "digits": digits}, fitted=config.fitted)


def order(rates: np.ndarray, values: np.ndarray, fitted: int) -> float:
    """Return the slope of log(value) against log(rate), at the smallest rates."""
    return float(np.polyfit(np.log(rates[-fitted:]), np.log(values[-fitted:]), 1)[0])


def numbers(tree: xr.DataTree) -> dict:
    """Return orders, errors of the flow, and relative changes of a^2 - b^2, by case."""
    parts, fitted = datasets(tree), tree.attrs["fitted"]
    cases: dict = {}
    for name, part in parts.items():
        largest = part.distance.max("time").values  # for each rate
        cases[name] = {
            "order": order(part.rate.values, largest, fitted),
            "largest_distances": largest,
            "last_ratio": largest[-2] / largest[-1],
            "flow_steps": part.solver_steps.item(),
            "flow_arrived": part.arrived.item(),
        }
    equal, unequal, digits = (parts[name] for name in ("equal", "unequal", "digits"))
    balance = UNEQUAL[0] ** 2 - UNEQUAL[1] ** 2
    # A step multiplies a^2 - b^2 by 1 - eta^2 (s - ab)^2.
    lost = 1 - unequal.balance.values[:, -1] / balance
    cases["equal"]["flow_error"] = np.abs(equal.flow_product - equal.known).values.max()
    cases["unequal"] |= {
        "balance_lost_by_flow": np.abs(unequal.flow_balance.values / balance - 1).max(),
        "balance_lost_by_descent": lost,
        "balance_order": order(unequal.rate.values, lost, fitted),
    }
    cases["digits"] |= {
        "first_time": digits.time.values[0],
        "distances_at_first_time": digits.distance.values[:, 0],
        "cost_at_end": digits.flow_cost.values[-1],
        "cost_at_end_by_rate": digits.cost.values[:, -1],
        "largest_rate": digits.rate.values[0],
        "smallest_rate": digits.rate.values[-1],
    }
    return {"case": cases}


# Case, title, and the measure of progress: label, variable of descents, variable of the flow.
ROWS = (
    ("equal", "Two factors, (2 - ab)² / 2", "product ab", "product", "known"),
    ("digits", "Digit network", "cost", "cost", "flow_cost"),
)


def plot(tree: xr.DataTree) -> dict:
    """Draw progress, distance from the flow, and order, with one row per problem."""
    fitted = tree.attrs["fitted"]
    figure = Figure(figsize=(14, 4.5 * len(ROWS)))
    grid = figure.subplots(len(ROWS), 3)
    for (left, middle, right), (name, title, label, progress, of_flow) in zip(
        grid, ROWS, strict=True
    ):
        case = datasets(tree)[name]
        time, rates, largest = case.time.values, case.rate.values, case.distance.max("time").values
        distances = case.distance.where(case.distance > 0).values
        for index, rate in enumerate(rates):
            color = CYCLE[index % (len(CYCLE) - 1)]
            left.plot(time, case[progress].values[index], color=color)
            middle.plot(time, distances[index], color=color, label=f"{rate:g}")
            right.scatter(rate, largest[index], color=color, s=60, zorder=3)
        left.plot(time, case[of_flow], "--", color=BLACK, label="gradient flow")
        left.set(xlabel="time, learning rate · steps", ylabel=label, title=title)
        left.legend()
        high, low = np.nanmax(distances), np.nanmin(distances)
        middle.set_yscale("log")
        middle.set_ylim(top=high * (high / low) ** 0.4)  # for the legend
        middle.set(xlabel="time, learning rate · steps", ylabel="distance from the flow")
        middle.set_title("Distance from the flow")
        look: dict = {"ncols": 3, "handlelength": 1.2, "columnspacing": 1}
        middle.legend(title="learning rate", loc="upper right", **look)
        ends = np.array([rates[-1] / 1.3, rates[0] * 1.3])
        line = largest[-1] * ends / rates[-1]
        right.plot(ends, line, "--", color=BLACK, label="first order: slope 1")
        right.set(xscale="log", yscale="log", xlabel="learning rate")
        right.set_ylabel("largest distance from the flow")
        fit = order(rates, largest, fitted)
        right.set_title(f"Fitted order {fit:.3f} ({fitted} smallest rates)")
        right.legend(loc="upper left")
    return {"from_flow": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
