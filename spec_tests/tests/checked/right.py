"""All right Functions that any implementation can be asked, by name."""

from checked import right_formulas, right_programs

RIGHT = {**right_formulas.RIGHT, **right_programs.RIGHT}
