"""The command `fuzz`: the targets of tests/fuzz, and the real frames that they start from."""
