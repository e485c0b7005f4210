"""The commands `perf` and `cpu`, and code that all comparisons share."""
