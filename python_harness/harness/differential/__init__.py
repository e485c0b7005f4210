"""Plays one conversation to Parsl's interchange (stock) and to htex-interchange, and compares the
two."""
