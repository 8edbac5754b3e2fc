"""Reference results in float64, from software that no implementation shares, stored as files.

``make_oracle.py`` (torch.nn) and ``make_init_vectors.py`` (NumPy alone) made them;
``provenance.json`` has the versions, the date and the seed. ``make_states.py`` made the states of
optimizers, which are in the writers' own precision. ``make_modules.py``, ``make_losses.py`` and
``make_optim.py`` made the results of the tables of layers, losses and optimizers,
``make_recurrent.py`` and ``make_exchange.py`` those of recurrent layers, ``make_checkpoint.py`` the
checkpoints, each with a provenance of its own. ``make_special_cases.py`` parsed the special cases
of the array API standard's text.
"""

from spec_tests.oracle.draws import Draws
from spec_tests.oracle.stored import folder, load, states

__all__ = ["Draws", "folder", "load", "states"]
