"""What runs inside processes of a recorded Parsl; `harness/fuzz_seeds.py` puts it there."""
