"""What runs inside processes of a recorded Parsl; `harness/fuzz/seeds.py` puts it there."""
