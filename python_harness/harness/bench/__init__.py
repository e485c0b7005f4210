"""`bench`: stock, ours and the floor, side by side, under a compiled load."""
