"""`demo`: a real workflow through the binary, with faults in it."""
