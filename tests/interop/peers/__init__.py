"""Drivers for the programs of the suite, and peers of our own that misbehave on purpose."""
