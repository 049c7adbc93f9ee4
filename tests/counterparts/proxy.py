"""A network that breaks on order, between PostgreSQL's client and its server."""

import contextlib
import selectors
import socket
import threading
from typing import Literal, Self

Order = Literal["", "before", "after"]
"""Cut the connection at the next COMMIT: before the server sees it, or once it has answered and before we hear."""

COMMIT = b"COMMIT\0"


class Proxy:
    """Listens on loopback and passes bytes on to `port` (which may be changed). Usable as a context."""

    def __init__(self, port: int) -> None:
        self.to, self.order, self.cuts = port, "", 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends every connection and takes no more."""
        self._closed = True
        self._listening.close()
        self.cut()

    def at_commit(self, order: Order) -> None:
        """What happens at the next COMMIT."""
        self.order = order

    def cut(self) -> None:
        """Ends every connection."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # It was closed.
            try:
                server = socket.create_connection(("127.0.0.1", self.to), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open += [client, server]
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        cutting = False
        with client, server, selectors.DefaultSelector() as waiting, contextlib.suppress(OSError):
            waiting.register(client, selectors.EVENT_READ, server)
            waiting.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in waiting.select():
                    source, target = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(65536)
                    if not data or (cutting and source is server):
                        return
                    if source is client and self.order and COMMIT in data:
                        order, self.order, self.cuts = self.order, "", self.cuts + 1
                        if order == "before":
                            return
                        cutting = True
                    target.sendall(data)
