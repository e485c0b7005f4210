"""Brokers that are broken on purpose: the simulation has to catch each."""
