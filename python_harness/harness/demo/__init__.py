"""The command `demo`: runs a real workflow through the binary, with deliberate failures in it."""
