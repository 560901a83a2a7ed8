"""Gradual rollouts: a release goes to a channel in waves, and stops by itself where too many instances refuse it."""
