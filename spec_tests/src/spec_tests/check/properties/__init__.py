"""What is asked of a Function: a row for each property."""

from spec_tests.check.properties import arrays, calls, derivatives, directions, shapes, transforms
from spec_tests.check.properties.case import (
    FAILED,
    NOT_ASKED,
    PASSED,
    REFUSED,
    Case,
    NotAsked,
    Property,
    Refused,
    Wrong,
)

PROPERTIES: tuple[Property, ...] = (
    *derivatives.ROWS,
    *directions.ROWS,
    *arrays.ROWS,
    *calls.ROWS,
    *shapes.ROWS,
    *transforms.ROWS,
)
# Asked of the implementations together, when each has been asked for itself.
AGREEMENT = "agreement"

__all__ = [
    "AGREEMENT",
    "FAILED",
    "NOT_ASKED",
    "PASSED",
    "PROPERTIES",
    "REFUSED",
    "Case",
    "NotAsked",
    "Property",
    "Refused",
    "Wrong",
]
