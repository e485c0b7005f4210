"""A test network: two network namespaces, joined by a link that delays, loses and cuts packets.

The link is a TUN device in each namespace and a thread that carries packets between them. It
therefore needs neither `ip` nor `tc` nor a kernel with netem, but only the right to create
namespaces (root, or CAP_SYS_ADMIN and CAP_NET_ADMIN). Nothing outside the two namespaces changes,
and they disappear when their descriptors are closed.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
IFF_UP = 1
PACKET_BYTES_MAX = 1 << 16

HEAD_ADDRESS, NODE_ADDRESS = "10.77.0.1", "10.77.0.2"
NETMASK = "255.255.255.0"

_libc = ctypes.CDLL(None, use_errno=True)


def why_impossible() -> str | None:
    """Returns why this machine cannot have such a network; None if it can."""
    if not os.path.exists("/dev/net/tun"):
        return "this machine has no /dev/net/tun"
    if not shutil.which("nsenter"):
        return "this machine has no nsenter (package util-linux)"
    try:
        with Network():
            return None
    except OSError as error:
        return f"network namespaces cannot be created here: {error} (root is required)"


class Namespace:
    """A network namespace with a loopback device and one TUN device."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.failure: OSError | None = None
        self.descriptor = self.tun = -1
        # A separate, short-lived thread enters and creates the new namespace, so that this thread
        # stays outside.
        maker = threading.Thread(target=self._make)
        maker.start()
        maker.join()
        if self.failure:
            self.close()
            raise self.failure

    def _make(self) -> None:
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
            self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI)
            fcntl.ioctl(self.tun, TUNSETIFF, request)
            _configure("tun0", self.address)
            _configure("lo", None)
        except OSError as error:
            self.failure = error

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Puts this thread, and the processes and threads that it starts, into the namespace."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _check(_libc.setns(self.descriptor, CLONE_NEWNET), "setns")
            yield
        finally:
            _check(_libc.setns(outside, CLONE_NEWNET), "setns")
            os.close(outside)

    def prefix(self) -> str:
        """Returns a prefix for a shell command that runs the command in the namespace."""
        return f"nsenter --net=/proc/{os.getpid()}/fd/{self.descriptor} "

    def close(self) -> None:
        for descriptor in (self.tun, self.descriptor):
            if descriptor >= 0:
                os.close(descriptor)


class Network:
    """The `head` namespace (submit side and interchange), the `node` namespace (managers), and
    their link."""

    def __init__(self, seed: int = 0) -> None:
        self.head = Namespace(HEAD_ADDRESS)
        try:
            self.node = Namespace(NODE_ADDRESS)
        except OSError:
            self.head.close()
            raise
        self.delay_s = 0.0
        self.loss = 0.0
        self.is_cut = False
        self.carried = self.dropped = 0
        self._random = random.Random(seed)
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="link", daemon=True)

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)
        self.head.close()
        self.node.close()

    def cut(self) -> None:
        """Silently drops every packet from now on; neither end is notified."""
        self.is_cut = True

    def heal(self) -> None:
        self.is_cut = False

    def _carry(self) -> None:
        other = {self.head.tun: self.node.tun, self.node.tun: self.head.tun}
        on_its_way: list[tuple[float, int, int, bytes]] = []
        while True:
            wait_s = max(0.0, on_its_way[0][0] - time.monotonic()) if on_its_way else None
            ready, _, _ = select.select([*other, self._ending], [], [], wait_s)
            if self._ending in ready:
                return
            for source in ready:
                packet = os.read(source, PACKET_BYTES_MAX)
                if self.is_cut or self._random.random() < self.loss:
                    self.dropped += 1
                    continue
                self.carried += 1
                # The counter keeps packets in order that are due at the same time.
                due = time.monotonic() + self.delay_s
                heapq.heappush(on_its_way, (due, self.carried, other[source], packet))
            while on_its_way and on_its_way[0][0] <= time.monotonic():
                _, _, sink, packet = heapq.heappop(on_its_way)
                try:
                    os.write(sink, packet)
                except BlockingIOError:
                    self.dropped += 1


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _configure(device: str, address: str | None) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = device.encode()
        if address:
            for call, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, NETMASK)):
                packed = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, call, struct.pack("16s16s8x", name, packed))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", name, IFF_UP))
