"""A few seconds on the user's own machine: what is compiled or fused there, against float64.

The suite says whether an implementation is right. This says whether it is right *here*: with this
processor's instruction set, this device, these libraries and settings.
"""
