"""The machine and the code that a measurement is taken with."""
