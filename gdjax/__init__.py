"""Gradient descent in JAX: the steps, the outcomes and the cost landscape.

Public names are listed in `__init__.pyi` and imported on first use, so `import gdjax` is fast and
`gdjax.cli` starts without JAX.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
