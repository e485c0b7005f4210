"""Mutants of the broker with deliberate bugs; the simulation has to catch each of them."""
