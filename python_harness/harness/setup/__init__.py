"""Prepares what the harness needs: environment, binary, wheel, programs from Debian's packages."""
