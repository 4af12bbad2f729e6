import jax.numpy as jnp

import gdjax as gd

number = 3
problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
