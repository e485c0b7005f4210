"""Test doubles: both ends of the wire, crowds of managers, bad networks, made-up events, bombs."""
