"""A sweep's runs in one Zarr group, in a folder or an object store, checked when it is read.

`schema` says what a store consists of, `location` where its files are, `reader` and `writer` read
and write it. Nothing here imports JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
