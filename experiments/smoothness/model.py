"""Gradients of networks at decreasing temperatures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd

from .config import Config

SHIFTS = np.linspace(-0.5, 1.5, 2001)  # shifts of one weight at which the cost is evaluated


def look(problem, params, temperature, data, images):
    """Return the gradient norm over all data, and for each of the first `images` images."""

    def norm(batch):
        gradient = jax.grad(problem.cost)(params, batch, temperature=temperature)
        return optax.tree.norm(gradient)

    single = jax.tree.map(lambda a: a[:images, None], data)
    return norm(data), jax.lax.map(norm, single, batch_size=50)


def along_one_weight(problem, params, temperature, data, shifts):
    """Return the cost as a function of a shift of the last layer's first weight."""
    *first, last = params

    def cost(shift):
        moved = last._replace(weights=last.weights.at[0, 0].add(shift))
        return problem.cost((*first, moved), data, temperature=temperature)

    return jax.lax.map(cost, shifts, batch_size=100)


def at_start(config: Config, problem) -> xr.Dataset:
    """Return gradient norms, and costs along one weight, before training."""
    keys = gd.run_keys(0, np.arange(config.seeds)).init
    params = jax.vmap(problem.init)(keys)
    data = jax.device_put(problem.data)

    @jax.jit
    def norms(params, temperatures, data):
        def over_seeds(temperature):
            return jax.lax.map(
                lambda one: look(problem, one, temperature, data, config.images), params
            )

        return jax.lax.map(over_seeds, temperatures)

    @jax.jit
    def lines(params, temperatures, data, shifts):
        return jax.lax.map(
            lambda t: along_one_weight(problem, params, t, data, shifts), temperatures
        )

    full_batch, single = norms(params, jnp.asarray(config.looked_at), data)
    few = jax.tree.map(lambda a: a[: config.along], data)
    first = jax.tree.map(lambda a: a[0], params)
    cost = lines(first, jnp.asarray(config.drawn), few, jnp.asarray(SHIFTS))
    return xr.Dataset(
        {
            "gradient_norm": (("looked_at", "seed"), np.asarray(full_batch)),
            "image_gradient_norm": (("looked_at", "seed", "image"), np.asarray(single)),
            "cost_along": (("drawn", "added"), np.asarray(cost)),
        },
        {
            "looked_at": list(config.looked_at),
            "drawn": list(config.drawn),
            "added": SHIFTS,
            "seed": np.arange(config.seeds),
        },
    )
