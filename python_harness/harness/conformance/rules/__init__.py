"""The functions that play the rules of the page, by its sections."""
