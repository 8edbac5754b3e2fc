"""The corner of `cupy.exceptions` that an implementation needs."""

from numpy.exceptions import AxisError, ComplexWarning

__all__ = ["AxisError", "ComplexWarning"]
