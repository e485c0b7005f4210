"""`perf` and `cpu`, and what all comparisons share."""
