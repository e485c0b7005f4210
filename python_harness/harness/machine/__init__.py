"""What the system says and does: processes, sockets, networks, terminals; and waiting."""
