"""The same descents in PyTorch, for `speed.py`; measured where PyTorch can be imported."""

import importlib
from itertools import pairwise
from typing import Any

import common

WIDTHS = (784, 16, 16, 10)


def found() -> Any:
    """The module torch, or None."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


def _cost(torch, params, x, y):
    for w, b in params:
        x = torch.sigmoid(x @ w + b)
    return ((x - y) ** 2).sum(-1).mean()


def _setup(torch, problem, count):
    x = torch.tensor(problem.data[0][:count]).float() / 255
    y = torch.nn.functional.one_hot(torch.tensor(problem.data[1][:count]).long(), 10).float()
    return x, y, [[torch.randn(i, o) / i**0.5, torch.zeros(o)] for i, o in pairwise(WIDTHS)]


def _descend(torch, flat, cost):
    gradient = torch.autograd.grad(cost, flat)
    with torch.no_grad():
        for parameter, g in zip(flat, gradient, strict=True):
            parameter.sub_(g)


def whole_set(problem: Any, runs: int, repeats: int) -> dict[str, float]:
    """Milliseconds a run-step on 5,000 samples: a loop over runs, and `torch.func.vmap`."""
    torch = found()
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
        best = min(common.seconds(lambda w=work, s=steps: w(s)) for _ in range(repeats))
        result[name] = 1e3 * best / steps / at_once
    return result


def mini_batches(problem: Any, steps: int, repeats: int) -> float | None:
    """Microseconds a step of a PyTorch loop at batches of 32; None without PyTorch."""
    torch = found()
    if torch is None:
        return None
    x, y, params = _setup(torch, problem, len(problem.data[1]))
    flat = [p.requires_grad_() for pair in params for p in pair]
    order = torch.randperm(len(y))[: 32 * (len(y) // 32)].reshape(-1, 32)[: max(50, steps)]

    def loop():
        for rows in order:
            _descend(torch, flat, _cost(torch, params, x[rows], y[rows]))

    loop()
    return 1e6 * min(common.seconds(loop) for _ in range(repeats)) / len(order)
