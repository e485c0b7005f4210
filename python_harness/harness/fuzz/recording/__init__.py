"""Code that runs inside the processes of a recorded Parsl; `harness/fuzz/seeds.py` installs it."""
