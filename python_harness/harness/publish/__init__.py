"""What a release consists of, and the command that makes all of it at once."""
