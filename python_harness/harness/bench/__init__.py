"""The command `bench`: compares stock, htex-interchange and a bare libzmq pass-through ("the
floor") under a compiled load."""
