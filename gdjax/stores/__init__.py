"""Zarr stores of sweeps, in a folder or an object store, with checks on reading.

The module `schema` defines the arrays of a store and `location` the location of its files;
`reader` and `writer` read and write it. None of them imports JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
