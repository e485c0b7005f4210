"""The Python side of htex-interchange: environment, demo, measurements and what tests share."""
