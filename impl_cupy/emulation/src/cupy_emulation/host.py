"""NumPy, without its types.

The emulation hands on whatever CuPy's looser signatures allow, and NumPy's stubs, which change
from release to release, would object to a good part of it.
"""

from typing import Any

import numpy

np: Any = numpy
