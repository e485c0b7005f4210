"""Lists the sockets of a process.

psutil lists no raw sockets and no listening Unix sockets; these are read from /proc.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def listening(pid: int) -> list[tuple[str, int]]:
    """Returns the address and port of every TCP socket on which exactly this process listens."""
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return [
        # An IPv4 address may be written as an IPv6 address.
        (one.laddr.ip.removeprefix("::ffff:"), one.laddr.port)
        for one in connections
        if one.status == psutil.CONN_LISTEN
    ]


def datagram_and_raw(pid: int) -> list[str]:
    """Returns the lines of the kernel's tables about UDP and raw sockets of this process."""
    inodes = _inodes(pid)
    tables = ("udp", "udp6", "raw", "raw6")
    rows = [(table, fields) for table in tables for fields in _rows(pid, table)]
    return [f"{table}: {' '.join(fields)}" for table, fields in rows if fields[9] in inodes]


def local(pid: int) -> list[str]:
    """Returns the paths of the Unix sockets on which this process listens, if they have a path."""
    inodes = _inodes(pid)
    listens = 0x10000
    return [
        fields[7]
        for fields in _rows(pid, "unix")
        if len(fields) > 7 and fields[6] in inodes and int(fields[3], 16) & listens
    ]


def _inodes(pid: int) -> set[str]:
    targets = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if target.startswith("socket:["):
            targets.add(target.removeprefix("socket:[").removesuffix("]"))
    return targets


def _rows(pid: int, table: str) -> list[list[str]]:
    lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    return [line.split() for line in lines]
