"""All wrong Functions that any implementation can be asked, by name."""

from checked import wrong_calls, wrong_gradients

WRONG = {**wrong_gradients.WRONG, **wrong_calls.WRONG}
