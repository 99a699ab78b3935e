"""An HTTP server on loopback while a test runs."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from http.server import ThreadingHTTPServer
from typing import Any, Self


class Loopback(AbstractContextManager[Any]):
    """Serves ``_http``, which its class sets, from ``with`` to the end of it."""

    _http: ThreadingHTTPServer

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
