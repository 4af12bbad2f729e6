"""What cannot be differentiated is refused with its value, whatever is asked about it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import geometry
from gdjax.errors import InputError

KEY = jax.random.key(0)
ASKED = {
    "value_and_gradient": geometry.value_and_gradient,
    "anatomy": geometry.anatomy,
    "gradient_direction": geometry.gradient_direction,
    "hessian": geometry.hessian,
    "hessian_vector_product": lambda cost, w: geometry.hessian_vector_product(cost, w, w),
    "extremes": partial(geometry.extremes, key=KEY, largest=1),
    "trace": partial(geometry.trace, key=KEY),
    "density": partial(geometry.density, key=KEY),
    "classify": partial(geometry.classify, key=KEY),
    "polish": geometry.polish,
    "nearest_critical_point": geometry.nearest_critical_point,
    "view": lambda cost, w: geometry.view("random", cost, w, key=KEY),
}


def bowl(w):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w))


@pytest.mark.parametrize("name", ASKED)
def test_whole_numbers_are_refused_as_parameters(name):
    with pytest.raises(InputError, match=r"params\['a'\] has type int.*expected a real float"):
        ASKED[name](bowl, {"a": np.array([1, 2, 3]), "b": np.ones(2)})


@pytest.mark.parametrize("name", ASKED)
def test_what_is_no_array_is_refused_as_parameter(name):
    with pytest.raises(InputError, match=r"params\['a'\] = 'relu' is not an array"):
        ASKED[name](bowl, {"a": "relu", "b": np.ones(2)})


@pytest.mark.parametrize("name", sorted(ASKED.keys() - {"view"}))
def test_costs_of_more_than_one_number_are_refused(name):
    with pytest.raises(InputError, match=r"cost: returned float32\[2\], expected one scalar"):
        ASKED[name](lambda w: w**2, np.ones(2, np.float32))


@pytest.mark.parametrize("name", sorted(ASKED.keys() - {"view"}))
def test_counts_are_refused_as_costs(name):
    with pytest.raises(InputError, match="cost: returned int32, expected a real floating-point"):
        ASKED[name](lambda w: jnp.sum(w > 0), np.ones(2, np.float32))
