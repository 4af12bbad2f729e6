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
from gdjax.flows import FlowStatus, distance_from_flow
from gdjax.plots.style import BLACK, CYCLE, Figure


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flow."""

    target: float = 2.0  # target s of the product of the two factors
    start: float = 0.1  # starting value of both factors
    unequal: tuple[float, float] = (0.3, 1.7)  # second start, to test the conserved quantity
    factor_rate: float = 0.16  # largest learning rate on the two factors
    factor_time: float = 3.2  # end time on the two factors
    data: str = "mnist5k"  # name of the data set
    samples: int = 300  # number of images
    digit_rate: float = 1.6  # largest learning rate on the digits
    digit_time: float = 400.0  # end time on the digits
    rates: int = 6  # number of learning rates, each half of the previous one
    times: int = 25  # approximate number of times at which descents and flow are compared
    fitted: int = 4  # number of the smallest learning rates, which are used to fit the order
    tolerance: float = 1e-8  # relative tolerance of the flow on digits; default on the factors


def compared(problem, start, rates, end_time, times, **options):
    """Return a Dataset of distances and costs, and the parameters of descents and flow."""
    every = max(1, round(end_time / rates[0] / times)) * rates[0]
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
        return gd.problems.FUNCTIONS["two_factors"].f(w, target=config.target)

    rates = config.factor_rate / 2.0 ** np.arange(config.rates)
    options = (rates, config.factor_time, config.times)
    equal, descent, flow = compared(cost, jnp.full(2, config.start), *options)
    growth = np.exp(2 * config.target * equal.time)
    known = config.target * growth / (growth - 1 + config.target / config.start**2)
    equal["known"] = known
    equal["flow_product"] = ("time", np.prod(flow, axis=1))
    equal["product"] = (("rate", "time"), np.prod(descent, axis=-1))
    unequal, descent, flow = compared(cost, jnp.array(config.unequal), *options)
    for name, dims, w in (("flow_", (), flow), ("", ("rate",), descent)):
        unequal[f"{name}balance"] = ((*dims, "time"), w[..., 0] ** 2 - w[..., 1] ** 2)
    return equal, unequal


def digits(config: Config) -> xr.Dataset:
    """Compare descents on digits with the flow."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    start = problem.init(gd.run_keys(0).init)
    rates = config.digit_rate / 2.0 ** np.arange(config.rates)
    options = (rates, config.digit_time, config.times)
    return compared(problem, start, *options, rtol=config.tolerance)[0]


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
        "digits_first_time": float(digits.time[0]),
        "digits_distances_at_first_time": digits.distance.values[:, 0].tolist(),
        "digits_cost_at_end": float(digits.flow_cost[-1]),
        "digits_cost_at_end_by_rate": digits.cost.values[:, -1].tolist(),
        "digits_largest_rate": float(digits.rate[0]),
        "digits_smallest_rate": float(digits.rate[-1]),
    }


# Case, title, and the measure of progress: label, variable of descents, variable of the flow.
ROWS = (
    ("equal", "Two factors, (2 - ab)² / 2", "product ab", "product", "known"),
    ("digits", "Digit network", "cost", "cost", "flow_cost"),
)


def plot(tree: xr.DataTree) -> dict:
    """Draw progress, distance from the flow, and order, with one row per problem."""
    fitted = tree.attrs["fitted"]
    figure = Figure(figsize=(14, 4.5 * len(ROWS)))
    grid = figure.subplots(len(ROWS), 3, squeeze=False)
    for (left, middle, right), (name, title, label, progress, of_flow) in zip(
        grid, ROWS, strict=True
    ):
        case = datasets(tree)[name]
        time, rates, distances = case.time.values, case.rate.values, case.distance.values
        colors = [CYCLE[i % (len(CYCLE) - 1)] for i in range(len(rates))]
        for rate, values, distance, color in zip(
            rates, case[progress].values, distances, colors, strict=True
        ):
            left.plot(time, values, color=color)
            positive = np.where(distance > 0, distance, np.nan)
            middle.plot(time, positive, color=color, label=f"{rate:g}")
        left.plot(time, case[of_flow], "--", color=BLACK, label="gradient flow")
        left.set(xlabel="time, learning rate · steps", ylabel=label, title=title)
        left.legend()
        high, low = distances.max(), distances[distances > 0].min()
        middle.set_yscale("log")
        middle.set_ylim(top=high * (high / low) ** 0.4)  # for the legend
        middle.set(xlabel="time, learning rate · steps", ylabel="distance from the flow")
        middle.set_title("Distance from the flow")
        look: dict = {"ncols": 3, "handlelength": 1.2, "columnspacing": 1}
        middle.legend(title="learning rate", loc="upper right", **look)
        largest = largest_distances(case)
        right.scatter(rates, largest, c=colors, s=60, zorder=3)
        ends = np.array([rates.min() / 1.3, rates.max() * 1.3])
        small = np.argmin(rates)
        line = largest[small] * ends / rates[small]
        right.plot(ends, line, "--", color=BLACK, label="first order: slope 1")
        right.set(xscale="log", yscale="log", xlabel="learning rate")
        right.set_ylabel("largest distance from the flow")
        right.set_title(f"Fitted order {order(case, fitted):.3f} ({fitted} smallest rates)")
        right.legend(loc="upper left")
    return {"from_flow": figure}


def run(config: Config) -> xr.DataTree:
    """Return a tree with the comparisons of each case."""
    with jax.enable_x64(True):
        equal, unequal = factors(config)
        parts = {"equal": equal, "unequal": unequal, "digits": digits(config)}
    return tree_of(parts, fitted=config.fitted, unequal=list(config.unequal))


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
