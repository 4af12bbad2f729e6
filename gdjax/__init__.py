"""See gradient descent: what the step does, where it ends, and what the cost looks like there.

Everything public hangs here and is imported when it is first used: `import gdjax` is free, and
`gdjax.cli` answers without JAX. What there is stands in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
