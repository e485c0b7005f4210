"""The command `test`: runs all checks and tests, stage by stage."""
