"""Reference results in float64, from software that no implementation shares, stored as files.

``make_oracle.py`` (torch.nn) and ``make_init_vectors.py`` (NumPy alone) made them;
``provenance.json`` has the versions, the date and the seed. ``make_optim.py`` made the paths of
optimizers by ``optimized.py``, with a provenance of its own. ``make_states.py`` made the states of
optimizers, which are in the writers' own precision.
"""

from spec_tests.oracle.draws import Draws
from spec_tests.oracle.stored import folder, load, states

__all__ = ["Draws", "folder", "load", "states"]
