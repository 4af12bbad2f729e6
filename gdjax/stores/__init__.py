"""A sweep's runs on disk: one Zarr group, written tile by tile, believed only where it is checked.

This is what lies on the disk, whoever computed it: nothing here imports JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
