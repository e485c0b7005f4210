"""The functions that test the rules of the protocol page, one module for each group of sections."""
