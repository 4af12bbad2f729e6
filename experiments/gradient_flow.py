"""What is gradient descent without steps, and how far from it do real steps lead?

    dw/dt = -grad C(w)   against   w_{k+1} = w_k - eta grad C(w_k),   compared at t = eta k

Gradient flow is solved by an adaptive Runge-Kutta method whose error is far below all distances
looked at. First on the cost of two factors, (s - ab)^2 / 2, where the flow is known: from a = b the
product u = ab is the logistic curve s e^(2st) / (e^(2st) - 1 + s/u0), and from anywhere the flow
keeps a^2 - b^2. Then on the digit network (784-16-16-10, quadratic cost, a few hundred images),
from its usual random start until half of the cost is gone. Everything in float64.

    python experiments/gradient_flow.py           (about 40 s on two cores)

Expected: the distance from the flow halves with the learning rate (order 1 within 0.1), the flow's
own error is below 1e-8 on the two factors, and a^2 - b^2 drifts by an amount that halves, too.
"""

from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import gradient_flow as plots

import gdjax as gd
from gdjax.flows import FlowStatus, distance_from_flow


@dataclass(frozen=True)
class Config:
    """Which descents are compared with the flow.

    Args:
        target: s, what the two factors should multiply to.
        start: of both factors.
        unequal: a second start, for what the flow keeps.
        factor_rate: largest learning rate on the two factors.
        factor_time: until when.
        data: name of the data set.
        samples: images of it.
        digit_rate: largest learning rate on the digits.
        digit_time: until when.
        rates: learning rates, each half of the one before.
        times: at which they are compared, about so many.
        fitted: the order is fitted to so many of the smallest rates.
        tolerance: of the flow on the digits; on the factors it is that of float64.
        check: another tolerance, to see how far the flow on the digits can be trusted.
    """

    target: float = 2.0
    start: float = 0.1
    unequal: tuple[float, float] = (0.3, 1.7)
    factor_rate: float = 0.16
    factor_time: float = 3.2
    data: str = "mnist5k"
    samples: int = 300
    digit_rate: float = 1.6
    digit_time: float = 400.0
    rates: int = 6
    times: int = 25
    fitted: int = 4
    tolerance: float = 1e-8
    check: float = 1e-6


def halving(largest: float, count: int) -> np.ndarray:
    """Rates that halve, so that all of them arrive at the multiples of the largest."""
    return largest / 2.0 ** np.arange(count)


def compared(problem, start, rates, until, times, **options):
    """Distances and costs of descents beside the flow; and the parameters of both."""
    every = max(1, round(until / rates[0] / times)) * rates[0]
    at = every * np.arange(1, max(1, round(until / every)) + 1)
    found = jax.jit(
        lambda problem, w: distance_from_flow(problem, w, learning_rates=rates, times=at, **options)
    )(gd.problems.as_problem(problem), start)
    return (
        xr.Dataset(
            {
                "distance": (("rate", "time"), np.asarray(found.distance)),
                "cost": (("rate", "time"), np.asarray(found.cost)),
                "flow_cost": ("time", np.asarray(found.flow.cost)),
                "arrived": int(found.flow.status) == FlowStatus.COMPLETED,
                "solver_steps": int(found.flow.num_steps),
            },
            {"rate": rates, "time": at},
        ),
        jax.tree.map(np.asarray, found.params),
        jax.tree.map(np.asarray, found.flow.params),
    )


def factors(config: Config) -> tuple[xr.Dataset, xr.Dataset]:
    """Two factors from equal ones, beside the closed form, and from unequal ones."""

    def cost(w):
        return gd.problems.find("two_factors").f(w, target=config.target)

    rates = halving(config.factor_rate, config.rates)
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
    """The digit network beside its flow, and the flow beside a looser solution of itself."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    start = problem.init(gd.streams(0).init)
    rates = halving(config.digit_rate, config.rates)
    found, _, flow = compared(
        problem,
        start,
        rates,
        config.digit_time,
        config.times,
        rtol=config.tolerance,
    )
    looser = jax.jit(
        lambda problem, w: gd.flows.gradient_flow(
            problem, w, times=found.time.values, rtol=config.check
        )
    )(problem, start)
    squares = jax.tree.map(
        lambda a, b: np.sum((a - np.asarray(b)).reshape(len(a), -1) ** 2, axis=1),
        flow,
        looser.params,
    )
    found["flow_error"] = ("time", np.sqrt(sum(jax.tree.leaves(squares))))
    return found


def run(config: Config) -> xr.Dataset:
    """All of it, names prefixed by what it belongs to."""
    with jax.enable_x64(True):
        equal, unequal = factors(config)
        parts = {"equal": equal, "unequal": unequal, "digits": digits(config)}
    return xr.merge(
        [
            part.rename({name: f"{prefix}_{name}" for name in [*part.variables]})
            for prefix, part in parts.items()
        ]
    ).assign_attrs(fitted=config.fitted, unequal=list(config.unequal))


def order(dataset: xr.Dataset, prefix: str) -> float:
    """Slope of the largest distance against the smallest learning rates, both logarithmic."""
    fitted = dataset.attrs["fitted"]
    rates = dataset[f"{prefix}_rate"].values[-fitted:]
    largest = dataset[f"{prefix}_distance"].max(f"{prefix}_time").values[-fitted:]
    return float(np.polyfit(np.log(rates), np.log(largest), 1)[0])


def numbers(dataset: xr.Dataset) -> dict:
    """Orders, the flow's own errors, what it keeps."""
    found: dict = {}
    for prefix in ("equal", "unequal", "digits"):
        largest = dataset[f"{prefix}_distance"].max(f"{prefix}_time").values
        found |= {
            f"{prefix}_order": order(dataset, prefix),
            f"{prefix}_largest_distances": [float(d) for d in largest],
            f"{prefix}_last_ratio": float(largest[-2] / largest[-1]),
            f"{prefix}_flow_steps": int(dataset[f"{prefix}_solver_steps"]),
            f"{prefix}_flow_arrived": bool(dataset[f"{prefix}_arrived"]),
        }
    balance = dataset.unequal_flow_balance.values
    a, b = dataset.attrs["unequal"]
    # A step multiplies it by 1 - eta^2 (s - ab)^2.
    lost = 1 - dataset.unequal_balance.values[:, -1] / (a**2 - b**2)
    return found | {
        "equal_flow_error": float(abs(dataset.equal_flow_product - dataset.equal_known).max()),
        "unequal_balance_lost_by_flow": float(np.max(np.abs(balance / (a**2 - b**2) - 1))),
        "unequal_balance_lost_by_descent": [float(d) for d in lost],
        "unequal_balance_order": float(
            np.polyfit(np.log(dataset.unequal_rate.values[-4:]), np.log(lost[-4:]), 1)[0]
        ),
        "digits_flow_error_at_looser_tolerance": float(dataset.digits_flow_error.max()),
        "digits_first_time": float(dataset.digits_time[0]),
        "digits_distances_at_first_time": [float(d) for d in dataset.digits_distance.values[:, 0]],
        "digits_cost_at_end": float(dataset.digits_flow_cost[-1]),
        "digits_cost_at_end_by_rate": [float(c) for c in dataset.digits_cost.values[:, -1]],
        "digits_largest_rate": float(dataset.digits_rate[0]),
        "digits_smallest_rate": float(dataset.digits_rate[-1]),
    }


def plot(dataset: xr.Dataset) -> dict:
    """A row for the two factors, a row for the digits."""
    labels = {
        "equal": ("Two factors, (2 - ab)² / 2", "product ab", "product", "known"),
        "digits": ("Digit network", "cost", "cost", "flow_cost"),
    }
    rows = []
    for prefix, (title, label, shown, flow) in labels.items():
        rows.append(
            plots.BesideFlow(
                title=title,
                time=dataset[f"{prefix}_time"].values,
                learning_rate=dataset[f"{prefix}_rate"].values,
                shown=dataset[f"{prefix}_{shown}"].values,
                flow=dataset[f"{prefix}_{flow}"].values,
                shown_label=label,
                distance=dataset[f"{prefix}_distance"].values,
                fitted=dataset.attrs["fitted"],
                order=order(dataset, prefix),
            )
        )
    return {"from_flow": plots.from_flow(rows)}


if __name__ == "__main__":
    common.main("gradient_flow", Config, run, plot, numbers)
