"""Frozen values and pure rules; no I/O, no time, no randomness."""
