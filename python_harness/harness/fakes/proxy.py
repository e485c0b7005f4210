"""A TCP proxy between managers and the interchange that misbehaves as badly as a network can.

It needs no privilege. It cannot simulate lost packets: a kernel acknowledges every byte that it
delivers to the proxy. Bytes held by the proxy when a connection is cut are therefore lost to both
ends, as behind a firewall that forgets a connection. `harness.machine.network` drops packets.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable

# SO_LINGER value with which a close sends a reset, as a firewall does, and drops unsent bytes.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CHUNK_BYTES = 1 << 16


class Proxy:
    """A context manager that listens on its own port and forwards bytes to `to`."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.to = to
        self.port: int | None = None
        self.accepted = 0
        # Bytes that the proxy holds while forwarding is frozen; a cut loses them.
        self.held_bytes = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._loop = asyncio.new_event_loop()
        self._may_pass = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, *_) -> None:
        self._call(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Resets every connection, and every new one, until `heal`."""
        self._call(self._cut)

    def heal(self) -> None:
        self._call(self._heal)

    def lose(self) -> None:
        """Resets every connection and drops all held bytes; new connections are served."""
        assert not self._may_pass.is_set() and self.held_bytes > 0
        self.cut()
        self.thaw()
        self.heal()

    def freeze(self) -> None:
        """Stops forwarding in both directions, while connections stay open."""
        self._call(self._freeze)

    def thaw(self) -> None:
        self._call(self._thaw)

    @property
    def open_connections(self) -> int:
        return len(self._writers) // 2

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, what: Callable) -> None:
        asyncio.run_coroutine_threadsafe(what(), self._loop).result(10)

    async def _listen(self) -> None:
        self._may_pass.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        self._may_pass.set()
        await self._cut()
        # Both ends of each connection have been reset, so every forwarding task ends.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    async def _cut(self) -> None:
        self._is_cut = True
        for writer in list(self._writers):
            reset(writer)

    async def _heal(self) -> None:
        self._is_cut = False

    async def _freeze(self) -> None:
        self._may_pass.clear()

    async def _thaw(self) -> None:
        self._may_pass.set()

    async def _serve(self, from_peer, to_peer) -> None:
        self.accepted += 1
        if self._is_cut:
            return reset(to_peer)
        from_target, to_target = await asyncio.open_connection(*self.to)
        pair = {to_peer, to_target}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pass_on(from_peer, to_target), self._pass_on(from_target, to_peer)
            )
        finally:
            self._writers -= pair

    async def _pass_on(self, source, sink) -> None:
        try:
            while data := await source.read(CHUNK_BYTES):
                self.held_bytes += len(data)
                await self._may_pass.wait()
                self.held_bytes -= len(data)
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            reset(sink)
        else:
            sink.close()


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()
