"""Devices of this process."""

import os

import jax

from gdjax.base.errors import InputError


def local_devices() -> tuple[jax.Device, ...]:
    """Return the devices of this process."""
    try:
        return tuple(jax.local_devices())
    except Exception as error:  # the type depends on the platform; some errors are assertions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"JAX_PLATFORMS = {os.environ.get('JAX_PLATFORMS')!r}: JAX cannot use it here "
            f"({reason:.200}); unset it, or set JAX_PLATFORMS=cpu"
        ) from error
