"""Checks any interchange against the rules of the guide's protocol page."""
