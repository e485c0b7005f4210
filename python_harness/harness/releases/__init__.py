"""The releases of Parsl that are supported, and what runs under their Pythons."""
