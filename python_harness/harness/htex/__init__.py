"""Real executors of Parsl, their interchange, and what they are given to run."""
