"""`test`: everything that tests, stage by stage."""
