"""The files of a release, and the commands that make them."""
