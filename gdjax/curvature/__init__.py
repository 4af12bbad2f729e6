"""Curvature of the cost: gradients, eigenvalues of the Hessian, sharpness along a descent."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
