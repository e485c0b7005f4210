"""The Python side of htex-interchange: environment, demo, measurements and code that tests
share."""
