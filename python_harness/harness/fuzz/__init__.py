"""`fuzz`: the targets of tests/fuzz, and the real frames that they begin with."""
