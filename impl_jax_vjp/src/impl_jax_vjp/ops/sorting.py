"""Sorting and searching."""

from . import formulas as F
from .families import search

search("argmax", F.argmax, "Return the place of the first largest, along an axis or in C order.")
