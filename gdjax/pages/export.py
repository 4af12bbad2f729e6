"""Export of results: histories for trackers, Markov chains for ArviZ, graphs for networkx.

    store or Dataset  ->  RunHistory(at, step, records, outcome, diverged_at), one for each run
    chains of a learning coefficient  ->  DataTree with groups posterior and sample_stats

`tensorboard` and `mlflow` write these histories to a tracker, and `histories` yields the values to
log with another one, such as W&B. Each run of a sweep becomes one run of the tracker.
"""

import importlib
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gdjax.base.arguments import import_extra
from gdjax.base.arrays import check_result
from gdjax.base.errors import InputError
from gdjax.landscape import SamplingStatus
from gdjax.landscape.learning_coefficient import (
    FiniteTemperatureCoefficient,
    LocalLearningCoefficient,
)
from gdjax.stores.location import StoreLike
from gdjax.sweeps.histories import histories
from gdjax.sweeps.identity import versions

__all__ = ["arviz", "mlflow", "networkx", "tensorboard"]

EDGE = ("first", "second", "height", "kind", "saddle")
MLFLOW_BATCH = 1000  # maximum number of values per request


def tensorboard(runs: xr.Dataset | StoreLike, folder: str | Path) -> None:
    """Write each finished run of a sweep as a folder of TensorBoard; requires `tensorboard`.

    Args:
        runs: as in `histories`.
        folder: folder for the runs, which `tensorboard --logdir` shows. The name of a run consists
            of its settings, such as "learning_rate=0.1,seed=1".

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from gdjax import Problem, axes, sweep
        >>> bowl = Problem(init=lambda key: np.ones(2), cost=lambda w: w @ w)
        >>> runs = sweep(bowl, axes(learning_rate=[0.1, 0.2]), 4)
        >>> with TemporaryDirectory() as folder:
        ...     tensorboard(runs, folder)
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['learning_rate=0.1', 'learning_rate=0.2']
    """
    from tensorboard.compat.proto.event_pb2 import Event  # ty: ignore[missing-module-member]
    from tensorboard.compat.proto.summary_pb2 import Summary  # ty: ignore[missing-module-member]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for run in histories(runs):
        name = ",".join(f"{axis}={value}" for axis, value in run.at.items())
        writer = EventFileWriter(str(Path(folder) / name))
        for record, step, value in _scalars(run):
            summary = Summary(value=[Summary.Value(tag=record, simple_value=value)])
            writer.add_event(Event(step=step, summary=summary))
        writer.close()


def mlflow(runs: xr.Dataset | StoreLike, experiment: str, tracking_uri: str | None = None) -> None:
    """Log each finished run of a sweep, with its outcome as a tag; requires MLflow.

    Args:
        runs: as in `histories`.
        experiment: name of the experiment, which is created if it does not exist.
        tracking_uri: address of a server, or file such as "sqlite:///mlflow.db"; by default that of
            MLflow.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri)
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known else client.create_experiment(experiment)
    for run in histories(runs):
        logged = client.create_run(number, tags={"outcome": run.outcome.name}).info.run_id
        client.log_batch(logged, params=[Param(axis, str(value)) for axis, value in run.at.items()])
        metrics = [Metric(record, value, 0, step) for record, step, value in _scalars(run)]
        for first in range(0, len(metrics), MLFLOW_BATCH):
            client.log_batch(logged, metrics[first : first + MLFLOW_BATCH])
        client.set_terminated(logged)


def _scalars(run):
    """Yield the name, step and value of each recorded number of a run."""
    for name, values in run.records.items():
        if values.ndim == 1:
            yield from ((name, int(s), float(v)) for s, v in zip(run.step, values, strict=True))


def arviz(result: FiniteTemperatureCoefficient | LocalLearningCoefficient) -> Any:
    """Return the Markov chains of a learning coefficient for ArviZ.

    The functions of ArviZ take the result, for example `arviz.summary(export.arviz(result))`. This
    function does not need ArviZ.

    Args:
        result: result of `finite_temperature_coefficient` or `local_learning_coefficient` at one
            minimum.

    Returns:
        DataTree with two groups, or InferenceData if a version of ArviZ below 1 is installed, which
        does not take a DataTree. `posterior` has the samples, with the dimensions `chain` and
        `draw`: `coefficient` is b (C(w) - C(w*)), whose mean is the learning coefficient, and
        `squared_distance` is |w - w*|^2. `sample_stats` has the acceptance rate, the step size and
        the status of all chains together. For a result of `local_learning_coefficient`, all of
        these also have the dimension `inverse_temperature`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from gdjax.landscape import finite_temperature_coefficient
        >>> result = finite_temperature_coefficient(
        ...     lambda w: w @ w / 2, jnp.zeros(2), key=jax.random.key(0), inverse_temperature=1e4,
        ...     num_samples=100,
        ... )
        >>> dict(arviz(result).posterior.sizes)
        {'chain': 16, 'draw': 100}
    """
    names, temperatures = (), {}
    single = result
    if isinstance(result, LocalLearningCoefficient):
        single, names = result.at_temperatures, ("inverse_temperature",)
        temperatures = {"inverse_temperature": np.asarray(result.inverse_temperatures)}
    samples = getattr(single, "samples", None)
    if (
        not isinstance(single, FiniteTemperatureCoefficient)
        or samples is None
        or np.ndim(samples) != 2 + len(names)
    ):
        shape = f" with samples of shape {np.shape(samples)}" if samples is not None else ""
        raise InputError(
            f"result = {type(result).__name__}{shape}, expected the result of "
            f"finite_temperature_coefficient or local_learning_coefficient at one minimum; to "
            f"select one of several minima, use jax.tree.map(lambda array: array[0], result)"
        )
    dims = ("chain", "draw", *names)
    statuses = [SamplingStatus(int(status)).name for status in np.ravel(single.status)]
    groups = {
        "posterior": {
            "coefficient": (dims, _chains_first(samples)),
            "squared_distance": (dims, _chains_first(single.squared_distances)),
        },
        "sample_stats": {
            "acceptance_rate": (names, np.asarray(single.acceptance_rate)),
            "step_size": (names, np.asarray(single.step_size)),
            "status": (names, np.reshape(statuses, np.shape(single.status))),
        },
    }
    chains, draws = np.shape(samples)[-2:]
    coordinates = {"chain": np.arange(chains), "draw": np.arange(draws), **temperatures}
    attributes = {
        "inference_library": "gdjax",
        "inference_library_version": versions()["gdjax"],
        "sample_dims": ["chain", "draw"],
    }
    tree = xr.DataTree.from_dict(
        {name: xr.Dataset(group, coordinates, attributes) for name, group in groups.items()}
    )
    if any(found.version.startswith("0.") for found in metadata.distributions(name="arviz")):
        return importlib.import_module("arviz").from_datatree(tree)
    return tree


def networkx(graph: xr.Dataset) -> Any:
    """Return a landscape graph as a MultiGraph of networkx; requires networkx.

    Nodes are minima, with their cost, share and number of images. Edges are known paths, with their
    height, kind ("saddle", "line", ...), and the number of the saddle or -1.

    Args:
        graph: Dataset of `gd.minima.graph`.

    Examples:
        >>> import jax, numpy as np
        >>> from gdjax.minima import graph
        >>> well = lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2
        >>> tree = graph(well, np.array([[-1.0, 0.0], [1.0, 0.0]]), key=jax.random.key(0))
        >>> nodes = networkx(tree)
        >>> [round(height, 9) for _, _, height in nodes.edges(data="height")]
        [1.0, 1.0]
    """
    check_result("networkx: graph", graph, "landscape_graph", "gd.minima.graph")
    nx = import_extra("networkx", "networkx", "graphs")
    nodes = ("minimum_cost", "images", *(["share"] if "share" in graph else []))
    result = nx.MultiGraph()
    for number in range(graph.sizes["minimum"]):
        result.add_node(number, **{name: graph[name].values[number].item() for name in nodes})
    kinds = graph.edge_kind.attrs
    names = dict(zip(kinds["flag_values"], kinds["flag_meanings"].split(), strict=True))
    columns = (graph[f"edge_{name}"].values.tolist() for name in EDGE)
    for first, second, height, kind, saddle in zip(*columns, strict=True):
        result.add_edge(first, second, height=height, kind=names[kind], saddle=saddle)
    return result


def _chains_first(samples):
    """Return samples with the axes of chains and draws before that of temperatures."""
    array = np.asarray(samples)
    return np.moveaxis(array, 0, -1) if array.ndim == 3 else array
