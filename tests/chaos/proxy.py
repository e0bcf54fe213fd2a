"""A small TCP proxy before the database: cuts a connection at COMMIT, or swallows everything as a dead network does."""

import contextlib
import select
import socket
import threading
from pathlib import Path


class Proxy:
    """Listens on a free local port and passes bytes to and from the server's socket file.

    Attributes:
        cut_at_commit: Number of COMMITs that are still to be cut: the statement reaches the server, no answer comes
            back, and the connection ends.
        black_hole: While true nothing passes in either direction and nothing is closed.
        cuts: COMMITs cut so far.
    """

    def __init__(self, socket_dir: Path) -> None:
        self._server_file = str(socket_dir / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = True
        self._lock = threading.Lock()
        self.cut_at_commit = 0
        self.cuts = 0
        self.black_hole = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Return the port to connect to."""
        return self._listener.getsockname()[1]

    def url(self, direct: str) -> str:
        """Return the URL of the same database through the proxy, without TLS, so that COMMIT can be seen."""
        database = direct.partition("?")[0].rpartition("/")[2]
        user = direct.partition("://")[2].partition("@")[0]
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def close(self) -> None:
        """Stop listening; connections under way end with their clients."""
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(self._server_file)
            deaf = False
            while self._open:
                readable, _, _ = select.select([client, server], [], [], 0.05)
                if self.black_hole:
                    threading.Event().wait(0.02)
                    continue
                for side in readable:
                    data = side.recv(65536)
                    if not data:
                        return
                    if side is client:
                        deaf = deaf or self._is_to_be_cut(data)
                        server.sendall(data)
                    elif deaf:
                        # The server has answered the COMMIT; the client will never know.
                        return
                    else:
                        client.sendall(data)

    def _is_to_be_cut(self, data: bytes) -> bool:
        if b"COMMIT" not in data:
            return False
        with self._lock:
            if not self.cut_at_commit:
                return False
            self.cut_at_commit -= 1
            self.cuts += 1
        return True
