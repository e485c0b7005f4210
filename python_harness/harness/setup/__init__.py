"""What is made before anything runs: environment, binary, wheel, programs of Debian."""
