"""Mutated files of every kind that comes from outside, read under limits. `run_fuzz.py` is the command."""
