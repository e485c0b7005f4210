"""Access to the operating system: processes, sockets, networks, terminals; and waiting."""
