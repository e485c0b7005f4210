"""`parsl-tests`: Parsl's own tests of a release, with stock and with ours in turn."""
