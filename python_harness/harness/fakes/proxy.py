"""A TCP proxy that stands between managers and the interchange, and is as bad as a network can be.

It needs no privilege. What it cannot show is lost packets: a kernel acknowledges what it passes
to the proxy, so bytes that are here when a connection is cut are lost to both ends, as they are
behind a firewall that forgets a connection. For packets see `harness.machine.network`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable

# Closing with this sends a reset, as a firewall does, and drops what was not sent.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CHUNK_BYTES = 1 << 16


class Proxy:
    """Listens on a port of its own, and passes on what comes; used as a context manager."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.to = to
        self.port: int | None = None
        self.accepted = 0
        # What is here while nothing is passed on; a cut loses it.
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
        """Resets every connection, with what is held: it arrives nowhere. New ones are served."""
        assert not self._may_pass.is_set() and self.held_bytes > 0
        self.cut()
        self.thaw()
        self.heal()

    def freeze(self) -> None:
        """Passes nothing on, in neither direction, while connections stay open."""
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
        # Both ends of each connection are reset, so those who pass on come to their end.
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
