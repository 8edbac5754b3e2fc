"""Mutation testing: whether the suite alone finds a small change made to an implementation.

An implementation is changed in one place, a *mutant*, and the tests of the suite that reach this
place are run on it. A mutant that no test fails on has *survived*: either a test is missing, or the
change makes no difference (`kept`).

What runs where: `recorder` and `server` run in the environment of the implementation, once each;
`run` makes the mutants and talks to the server, in an environment that has cosmic-ray.
"""
