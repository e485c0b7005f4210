"""One conversation with stock and with ours, and what may differ between them."""
