"""`spec-tests accuracy`: how far implementations are from float64 and from one another, how fast.

One implementation at a time is measured, in its own environment; the files of several are put
beside one another by `spec-tests matrix --accuracy FILE ... --html PAGE`.
"""
