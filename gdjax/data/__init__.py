"""Image sets as arrays in memory: one that is bundled, and what TFDS prepares. No JAX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
