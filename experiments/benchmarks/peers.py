"""Measurements of PyTorch and packages based on it, for the experiment `speed`.

Measurements of packages that are not installed are None, or an empty dictionary.
"""

import importlib
from itertools import pairwise
from typing import Any

from .timing import WIDTHS, seconds


def torch_or_none(package: str = "torch") -> Any:
    """Return PyTorch or a package based on it, or None if one of them is not installed."""
    try:
        importlib.import_module("torch")
        return importlib.import_module(package)
    except ImportError:
        return None


def _cost(torch, params, x, y):
    for w, b in params:
        x = torch.sigmoid(x @ w + b)
    return ((x - y) ** 2).sum(-1).mean()


def _samples(torch, problem, count):
    x = torch.tensor(problem.data[0][:count]).float() / 255
    return x, torch.nn.functional.one_hot(torch.tensor(problem.data[1][:count]).long(), 10).float()


def _setup(torch, problem, count):
    starts = [[torch.randn(i, o) / i**0.5, torch.zeros(o)] for i, o in pairwise(WIDTHS)]
    return *_samples(torch, problem, count), starts


def _network(torch, layers):
    """Return a sigmoid network with the given weights and biases as a module."""
    stages = []
    for layer in layers:
        linear = torch.nn.Linear(*layer[0].shape[::-1])
        with torch.no_grad():
            for parameter, values in zip(linear.parameters(), layer, strict=True):
                parameter.copy_(torch.tensor(values.tolist()))
        stages += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*stages)


def _descend(torch, flat, cost):
    gradient = torch.autograd.grad(cost, flat)
    with torch.no_grad():
        for parameter, g in zip(flat, gradient, strict=True):
            parameter.sub_(g)


def whole_set(problem: Any, runs: int, repeats: int) -> dict[str, float]:
    """Return milliseconds per step and run, of a loop over steps and of `torch.func.vmap`."""
    torch = torch_or_none()
    if torch is None:
        return {}
    x, y, params = _setup(torch, problem, 5000)
    stacked = [[p.expand(runs, *p.shape).clone() for p in pair] for pair in params]
    flat = [p.requires_grad_() for pair in params for p in pair]
    gradient = torch.func.vmap(torch.func.grad(lambda p: _cost(torch, p, x, y)))

    def loop(steps):
        for _ in range(steps):
            _descend(torch, flat, _cost(torch, params, x, y))

    def vmapped(steps):
        for _ in range(steps):
            for pair, pair_g in zip(stacked, gradient(stacked), strict=True):
                for p, g in zip(pair, pair_g, strict=True):
                    p.sub_(g)

    result = {}
    for name, work, steps, at_once in (
        ("torch_loop", loop, 20, 1),
        ("torch_vmap", vmapped, 2, runs),
    ):
        work(1)
        best = min(seconds(lambda w=work, s=steps: w(s)) for _ in range(repeats))
        result[name] = 1e3 * best / steps / at_once
    return result


def mini_batches(problem: Any, steps: int, repeats: int) -> float | None:
    """Return microseconds per step of a PyTorch loop with batches of 32."""
    torch = torch_or_none()
    if torch is None:
        return None
    x, y, params = _setup(torch, problem, len(problem.data[1]))
    flat = [p.requires_grad_() for pair in params for p in pair]
    order = torch.randperm(len(y))[: 32 * (len(y) // 32)].reshape(-1, 32)[: max(50, steps)]

    def loop():
        for rows in order:
            _descend(torch, flat, _cost(torch, params, x[rows], y[rows]))

    loop()
    return 1e6 * min(seconds(loop) for _ in range(repeats)) / len(order)


def plane(problem: Any, params: Any, directions: Any, side: int, repeats: int) -> float | None:
    """Return seconds to evaluate a network's costs on a plane with `loss-landscapes`.

    The plane extends from -1 to 1 along both directions, with `side` points along each. Every other
    row is shifted by one step, since the package alternates the direction of rows, and takes a step
    before each evaluation.
    """
    torch, package = torch_or_none(), torch_or_none("loss_landscapes")
    if package is None:
        return None
    x, y = _samples(torch, problem, len(problem.data[1]))
    step = 2 / (side - 1)

    def model(first, second):
        moved = [
            [base + first * d_1 + second * d_2 for base, d_1, d_2 in zip(*layer, strict=True)]
            for layer in zip(params, *directions, strict=True)
        ]
        return _network(torch, moved)

    metrics = importlib.import_module("loss_landscapes.metrics")
    metric = metrics.Loss(lambda outputs, t: ((outputs - t) ** 2).sum(-1).mean(), x, y)

    def work():
        # The first corner is one step outside the plane, since the package takes a step along the
        # second direction before each evaluation.
        corners = (-1, -1 - step), (side * step - 1, -1 - step), (-1, (side - 1) * step - 1)
        with torch.no_grad():
            return package.planar_interpolation(*(model(*c) for c in corners), metric, side)

    work()
    return min(seconds(work) for _ in range(repeats))


def eigenvalues(
    problem: Any, params: Any, count: int, repeats: int
) -> tuple[float, list[float]] | None:
    """Return the mean time in seconds, and the largest eigenvalues, of `pyhessian`."""
    torch, package = torch_or_none(), torch_or_none("pyhessian")
    if package is None:
        return None
    model = _network(torch, params)
    x, y = _samples(torch, problem, len(problem.data[1]))

    def work(start):
        torch.manual_seed(start)
        operator = package.hessian(
            model, lambda a, t: ((a - t) ** 2).sum(-1).mean(), data=(x, y), cuda=False
        )
        return operator.eigenvalues(top_n=count)[0]

    values = work(0)
    # The power iteration of pyhessian has a random start, and some starts take twice as long.
    times = [seconds(lambda start=start: work(start)) for start in range(repeats)]
    return sum(times) / repeats, values
