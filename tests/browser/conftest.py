"""A browser for all tests of this folder, and a web server on this machine alone."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from . import chromium


@pytest.fixture(scope="package")  # a page with WebGL keeps a core busy for as long as it is open
def browser() -> Iterator[chromium.Chromium]:
    if chromium.PROGRAM is None:
        pytest.skip("chromium not found: apt-get install chromium")
    opened = chromium.Chromium()
    yield opened
    opened.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["file", "http"])
def address(request, tmp_path: Path) -> Iterator[str]:
    """Of the folder of the test, from disk and over http."""
    if request.param == "file":
        yield tmp_path.as_uri()
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
