"""Real executors of Parsl, their interchange, and the tasks and selectors that they run."""
