"""The supported releases of Parsl, and the programs that run under their Pythons."""
