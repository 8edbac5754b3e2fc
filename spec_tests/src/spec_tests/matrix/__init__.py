"""The table of functions, and that of clauses, by implementation, made of their result files.

It runs nothing: `judge` wrote the files, this merges them.
"""
