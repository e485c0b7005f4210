"""What sockets a process has, read from /proc."""

from __future__ import annotations

import ipaddress
import os
import struct
from pathlib import Path

LISTENING = "0A"


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def listening(pid: int) -> list[tuple[str, int]]:
    """Address and port of every TCP socket on which this very process listens."""
    inodes = _inodes(pid)
    found = []
    for table in ("tcp", "tcp6"):
        for fields in _rows(pid, table):
            if fields[3] == LISTENING and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.append((_address(address), int(port, 16)))
    return found


def datagram_and_raw(pid: int) -> list[str]:
    """Lines of the system's tables about UDP and raw sockets of this process."""
    inodes = _inodes(pid)
    tables = ("udp", "udp6", "raw", "raw6")
    rows = [(table, fields) for table in tables for fields in _rows(pid, table)]
    return [f"{table}: {' '.join(fields)}" for table, fields in rows if fields[9] in inodes]


def local(pid: int) -> list[str]:
    """Paths of the local sockets that have one and at which this process listens."""
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


def _address(text: str) -> str:
    """The kernel writes words of four bytes in the machine's order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    return str(getattr(address, "ipv4_mapped", None) or address)
