"""Reference results in float64, from software that no implementation shares, stored as files.

``make_oracle.py`` (torch.nn) and ``make_init_vectors.py`` (NumPy alone) made them;
``provenance.json`` has the versions, the date and the seed.
"""

from spec_tests.oracle.draws import Draws
from spec_tests.oracle.stored import folder, load

__all__ = ["Draws", "folder", "load"]
