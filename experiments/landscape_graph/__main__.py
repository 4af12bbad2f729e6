"""Which saddles connect the minima of small networks, and at which cost?

    h(a, b) = min over known paths of the largest cost on the path;   |G| / |H_c| components

    python -m experiments.landscape_graph           (about 40 minutes on two cores)

Expected: all minima and saddles of the test functions are found; the lowest passes of tanh networks
with decay are saddles with a dead neuron or with two neurons of equal or opposite input weights;
saddles lie below the best straight or matched line between two minima in most pairs; two
independent searches agree on the heights of the tree in most networks. This is refuted by a known
saddle of a test function that is missed, or by two searches that differ in most networks.
"""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree

import gdjax as gd
from experiments.shared import command
from gdjax.base.statistics import median, share
from gdjax.minima import EdgeKind, SearchStatus
from gdjax.minima.eigenvector_following import Landscape, polish_minima
from gdjax.plots.graph import merge_tree
from gdjax.problems import FUNCTIONS, Network, Problem, from_function

EQUAL = 1e-4  # largest relative difference of the weights of equal neurons, or size of dead ones


@dataclass(frozen=True)
class Config:
    """Test functions, networks and effort."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel", "styblinski_tang")
    widths: tuple[int, ...] = (2, 3)  # numbers of tanh neurons
    widest: tuple[int, ...] = (5, 10)  # further numbers of neurons, with the first decay only
    decays: tuple[float, ...] = (0.003, 0.01)  # of all weights and biases
    regressions: int = 5  # number of random data sets beside XOR
    starts: int = 16  # number of descents of each network
    steps: int = 4000  # number of steps of each descent
    searches: int = 60  # maximum number of bands and followed directions of each search


def network_problem(width: int) -> Problem:
    """Return the problem of a 2-width-1 tanh network; the decay is part of its data."""
    network = Network((2, width, 1), activation="tanh", output_activation="identity")

    def cost(params, batch):
        x, y, decay = batch
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.mean((network.apply(params, x)[:, 0] - y) ** 2) + jnp.mean(decay) * squares

    def init(key):
        params = network.init(key)
        keys = jax.random.split(key, 2)
        return tuple(
            layer._replace(bias=jax.random.normal(k, layer.bias.shape, layer.bias.dtype))
            for layer, k in zip(params, keys, strict=True)
        )

    data = tuple(np.zeros(shape) for shape in ((8, 2), 8, 8))
    return Problem(init, cost, data=data, network=network)


def data_set(number: int, decay: float):
    """Return XOR, twice, or eight random points; the inputs, targets and decay of each."""
    x = np.tile([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], (2, 1))
    y = x[:, 0] * x[:, 1]
    if number:
        random = np.random.default_rng(number)
        x, y = random.normal(size=(8, 2)), random.normal(size=8)
    return x, y, np.full(8, decay)


@partial(jax.jit, static_argnums=(0, 1, 2))
def descend(init, cost, num_steps, keys, data):
    """Return the ends of descents at a rate of 0.1; one program serves all data of a network."""

    def step(params, _):
        gradient = jax.grad(cost)(params, data)
        return jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient), None

    return jax.vmap(lambda key: jax.lax.scan(step, init(key), length=num_steps)[0])(keys)


def minima_of(problem: Problem, config: Config):
    """Return the strict minima at which descents end, one for each of these descents."""
    keys = jax.random.split(jax.random.key(1), config.starts)
    data = jax.tree.map(jnp.asarray, problem.data)
    ends = descend(problem.init, problem.cost, config.steps, keys, data)
    example = jax.tree.map(lambda leaf: leaf[0], ends)
    flat = np.asarray(jax.vmap(lambda one: ravel_pytree(one)[0])(ends))
    polished = polish_minima(Landscape(problem, example, np.ones(flat.shape[1])), flat)
    strict = polished.converged & (polished.index == 0) & (polished.nullity == 0)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[strict], ends)


def pass_kind(tree: xr.Dataset, saddle: int) -> str:
    """Return whether a saddle has a dead neuron, or two with equal or opposite input weights."""
    weights, bias = (tree[f"saddle_params.0.{name}"].values[saddle] for name in ("weights", "bias"))
    incoming = np.concatenate([weights, bias[:, None]], axis=1)
    outgoing = tree["saddle_params.1.weights"].values[saddle, 0]
    size = np.max(np.abs(incoming)) + np.max(np.abs(outgoing))
    if np.min(np.max(np.abs(incoming), axis=1) + np.abs(outgoing)) < EQUAL * size:
        return "dead"
    for i in range(len(incoming)):
        for j in range(i):
            both = incoming[i] - incoming[j], incoming[i] + incoming[j]
            if min(np.max(np.abs(difference)) for difference in both) < EQUAL * size:
                return "equal"
    return "other"


def gains(tree: xr.Dataset) -> list[float]:
    """Return how much lower the known pass is than the best line, relative to the line's barrier.

    There is one number for each pair of minima.
    """
    result = []
    lines = tree.edge_kind.values != EdgeKind.SADDLE
    for i, j in product(range(tree.sizes["minimum"]), repeat=2):
        pair = (tree.edge_first.values == i) & (tree.edge_second.values == j) & lines
        if i < j and pair.any():
            line = tree.edge_height.values[pair].min()
            joined = np.flatnonzero(tree.part.values[:, i] == tree.part.values[:, j])
            height = tree.merge_height.values[joined[0]]
            barrier = line - max(tree.minimum_cost.values[[i, j]])
            result.append(float((line - height) / barrier) if barrier > 0 else 0.0)
    return result


def networks(config: Config) -> tuple[list[dict], xr.Dataset | None]:
    """Return one row for each network, data set and decay, and the tree of one of them."""
    rows, shown = [], None
    for width in (*config.widths, *config.widest):
        plain = network_problem(width)
        decays = config.decays if width in config.widths else config.decays[:1]
        for number, decay in product(range(1 + config.regressions), decays):
            problem = dataclasses.replace(plain, data=data_set(number, decay))
            points = minima_of(problem, config)
            weights = np.full(len(points[0].bias), 1 / config.starts)
            trees = [
                gd.minima.graph(
                    problem,
                    points,
                    key=jax.random.key(seed),
                    share=weights,
                    max_searches=config.searches,
                )
                for seed in (0, 1)
            ]
            tree = trees[0]
            heights = [t.merge_height.values for t in trees]
            same = len(heights[0]) == len(heights[1]) and np.allclose(*heights, atol=1e-8, rtol=0)
            edges = tree.edge_saddle.values[tree.merge_edge.values]
            kinds = [pass_kind(tree, int(saddle)) for saddle in edges if saddle >= 0]
            rows.append(
                {
                    "width": width,
                    "data": number,
                    "decay": decay,
                    "minima": tree.sizes["minimum"],
                    "saddles": int((tree["index"] == 1).sum()),
                    "connected": int(tree.status) != SearchStatus.NOT_CONNECTED,
                    "passes": len(edges),
                    "on_saddles": int(np.sum(edges >= 0)),
                    **{kind: kinds.count(kind) for kind in ("dead", "equal", "other")},
                    "lowest": kinds[0] if kinds and edges[0] >= 0 else "path",
                    "same_tree": bool(same),
                    "same_minima": trees[0].sizes["minimum"] == trees[1].sizes["minimum"],
                    "gains": gains(tree),
                    "components": tree.components.values[:, 0].astype(int).tolist(),
                    "images": int(tree.images.values[0]),
                }
            )
            if number == 0 and width == config.widths[-1] and shown is None:
                shown = tree
    return rows, shown


def functions(config: Config) -> list[dict]:
    """Return the known points of test functions, and the searches after which each was found."""
    rows = []
    for name in config.functions:
        known = FUNCTIONS[name]
        start = np.array([known.minima[0].x])
        search = gd.minima.find_saddles(from_function(name), start, key=jax.random.key(0))
        kinds = [point.kind for point in known.critical_points]
        counts = {kind: kinds.count(kind) for kind in ("minimum", "saddle", "maximum")}
        first_order = search.saddles.index == 1
        rows.append(
            {
                "name": name,
                "searches": search.num_searches,
                "known_minima": counts["minimum"],
                "known_saddles": counts["saddle"],
                "sum": len(search.minima.cost) - int(first_order.sum()) + counts["maximum"],
                "minimum_search": np.sort(search.minimum_search).tolist(),
                "saddle_search": np.sort(search.saddle_search[first_order]).tolist(),
            }
        )
    return rows


def run(config: Config) -> xr.Dataset:
    """Return the tree of one network; the attributes have the rows of all tables."""
    with jax.enable_x64(True):
        rows, tree = networks(config)
        tables = {"networks": rows, "functions": functions(config)}
    assert tree is not None
    return tree.assign_attrs({name: json.dumps(table) for name, table in tables.items()})


def tables_of(dataset: xr.Dataset) -> dict:
    """Return the tables in the attributes of the results."""
    return {name: json.loads(dataset.attrs[name]) for name in ("networks", "functions")}


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts and shares by width and decay, with intervals over data sets.

    Pairs of one network are not independent, so gains are medians of the networks' medians.
    """
    tables = tables_of(dataset)
    rows = tables["networks"]

    def of(**at):
        return [row for row in rows if all(row[name] == value for name, value in at.items())]

    def summary(part):
        gained = [gain for row in part for gain in row["gains"]]
        own = [float(np.median(row["gains"])) for row in part if row["gains"]]
        at_dead_or_equal = sum(row["lowest"] in ("dead", "equal") for row in part)
        return {
            "minima": median([row["minima"] for row in part])[:3],
            "saddles": median([row["saddles"] for row in part])[:3],
            "same_tree": sum(row["same_tree"] for row in part),
            "networks": len(part),
            "connected": sum(row["connected"] for row in part),
            "lowest_dead_or_equal": at_dead_or_equal,
            "share_dead_or_equal": share(at_dead_or_equal, len(part))[:3],
            "dead": sum(row["dead"] for row in part),
            "equal": sum(row["equal"] for row in part),
            "other": sum(row["other"] for row in part),
            "passes": sum(row["passes"] for row in part),
            "on_saddles": sum(row["on_saddles"] for row in part),
            "pairs": len(gained),
            "improved": sum(gain > 1e-6 for gain in gained),
            "gain": median(own)[:3] if own else [float("nan")] * 3,
            "with_pairs": len(own),
        }

    widths, decays = (sorted({row[name] for row in rows}) for name in ("width", "decay"))
    by_width = {
        str(w): {
            "decay": {
                f"{d:g}": summary(of(width=w, decay=d)) for d in decays if of(width=w, decay=d)
            }
        }
        for w in widths
    }
    xor = {
        str(row["width"]): {"images": row["images"], "components": row["components"]}
        for row in of(data=0, decay=min(r["decay"] for r in rows))
    }
    return {
        "width": by_width,
        "all": summary(rows),
        "xor": {"width": xor},
        "function": {row["name"]: row for row in tables["functions"]},
    }


def plot(dataset: xr.Dataset) -> dict:
    """Draw the tree of one network."""
    tree = merge_tree(dataset, title="XOR, tanh network: lowest known passes")
    return {"tree": tree.figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
