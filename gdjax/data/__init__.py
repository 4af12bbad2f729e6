"""Image sets as arrays in memory: a bundled set, and sets prepared by TFDS. No JAX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
