"""The command `parsl-tests`: runs a Parsl release's own tests with stock and with
htex-interchange."""
