"""A network that fails where it hurts: a TCP proxy that breaks one connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes both ways; the first answer is cut off after `cut_after` bytes of it.

    The request has arrived and was carried out by then. With 0 the whole answer is lost. `cuts`
    counts what was cut, so that a test knows the failure took place.
    """

    def __init__(self, endpoint: str, *, cut_after: int) -> None:
        target = urlsplit(endpoint)
        self._target = (str(target.hostname), int(target.port or 80))
        self._left = cut_after
        self._lock = threading.Lock()
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Shut down first: close alone leaves a thread that waits in accept where it is.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while piece := client.recv(65536):
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := server.recv(65536):
                passed, cut = self._passed(piece)
                client.sendall(passed)
                if cut:
                    break
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _passed(self, piece: bytes) -> tuple[bytes, bool]:
        """What goes on to the client, and whether the connection is cut after it."""
        with self._lock:
            if self.cuts:
                return piece, False
            passed, self._left = piece[: self._left], max(0, self._left - len(piece))
            if self._left > 0 or len(passed) == len(piece):
                return passed, False
            self.cuts = 1
            return passed, True
