"""Image sets as arrays in memory, without JAX: a bundled set, and sets of TFDS."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
