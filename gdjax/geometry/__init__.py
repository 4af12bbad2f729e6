"""What the cost looks like around a point.

Here stands what is asked most; all else is in the modules, each imported when it is first used:
`derivatives` (a gradient taken apart), `products` (Hessian times vector), `spectrum` and
`quadrature` (eigenvalues, trace, density), `critical` and `polishing` (which kind of point),
`directions`, `views`, `slices` and `trajectories` (lines and planes), `stability`, `thresholds`,
`preconditioned` and `stochastic` (sharpness along a descent), `flow` and `central` (descent without
steps), `learning`, `volumes` and `whitening` (how wide a valley is), `fractal` (boundaries).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
