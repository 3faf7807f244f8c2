"""A browser without a screen: it speaks to a viewer as viser's page does, and counts what it is sent."""

from __future__ import annotations

import importlib.metadata
import math
import time
from collections.abc import Sequence
from types import TracebackType

from gs_reg.errors import MissingPart


class Visitor:
    """One connection to a viewer."""

    def __init__(self, url: str, width: int, height: int) -> None:
        """Raises MissingPart: viser, whose protocol this is, is another than the viewer's."""
        from websockets.exceptions import InvalidHandshake
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        protocol = Subprotocol(f"viser-v{importlib.metadata.version('viser')}")
        try:
            self._socket = connect(url.replace("http", "ws", 1), subprotocols=[protocol], max_size=None)
        except InvalidHandshake as error:
            raise MissingPart(f"{url}: no viewer of this viser answers: {error}") from error
        self._size = width, height
        self.bytes = 0
        """Received so far."""
        self.kinds: list[str] = []
        """Of the messages, in their order."""

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    def look(
        self,
        position: Sequence[float],
        look_at: Sequence[float],
        wxyz: Sequence[float] = (1, 0, 0, 0),
        fov: float = 0.9,
    ) -> None:
        """Tells the viewer where this browser's camera is."""
        import msgspec

        width, height = self._size
        camera = {
            "type": "ViewerCameraMessage",
            "wxyz": list(map(float, wxyz)),
            "position": list(map(float, position)),
            "fov": fov,
            "near": 0.001,
            "far": 1000.0,
            "image_height": height,
            "image_width": width,
            "look_at": list(map(float, look_at)),
            "up_direction": [0.0, -1.0, 0.0],
        }
        self._socket.send(msgspec.msgpack.encode(camera))

    def receive(self, seconds: float) -> list[str]:
        """Kinds of the messages in the next batch; none if it does not come in this time."""
        import msgspec
        import zstandard

        try:
            data = self._socket.recv(timeout=max(seconds, 0))
        except TimeoutError:
            return []
        assert isinstance(data, bytes)
        self.bytes += len(data)
        packed = int.from_bytes(data[8:16], "little")
        inner = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data[16 : 16 + packed]))
        kinds = [message["type"] for message in inner["messages"]]
        self.kinds += kinds
        return kinds

    def await_kind(self, kind: str, seconds: float) -> float:
        """Seconds until such a message has come.

        Raises:
            TimeoutError: none has.
        """
        begun = time.perf_counter()
        while (left := seconds - (time.perf_counter() - begun)) > 0:
            if kind in self.receive(left):
                return time.perf_counter() - begun
        raise TimeoutError(f"no {kind} within {seconds:g} s")


def turn(visitor: Visitor, seconds: float) -> None:
    """A camera on a circle round the middle, at half a turn in 6 seconds."""
    angle = math.pi * seconds / 6
    eye = (2.5 * math.sin(angle), 0.0, -2.5 * math.cos(angle))
    visitor.look(eye, (0, 0, 0), (math.cos(angle / 2), 0, -math.sin(angle / 2), 0))
