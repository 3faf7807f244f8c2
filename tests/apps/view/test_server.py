"""Where the viewer listens, and who may connect."""

import socket
from contextlib import closing

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gs_reg.apps import cli
from gs_reg.apps.view.server import Address, served
from gs_reg.errors import InputError


def taken_port() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_other_machines_only_when_asked(caplog):
    said = r"--host 0\.0\.0\.0: other machines could connect; add --allow-remote"
    with pytest.raises(InputError, match=said), served(Address(host="0.0.0.0"), "t"):
        pass
    caplog.set_level("INFO", "gs_reg")
    with served(Address(host="0.0.0.0", allow_remote=True), "t") as server:
        assert server.get_host() == "0.0.0.0"
    assert f"open http://{socket.gethostname()}:{server.get_port()} " in caplog.text
    assert "there is no password" in caplog.text and "ssh -L" not in caplog.text


@pytest.mark.parametrize("port", [0, -1, 65_536, 99_999])
def test_ports_that_cannot_be(port):
    with pytest.raises(InputError, match=f"--port: expected 1 to 65535, got {port}"), served(Address(port=port), "t"):
        pass


def test_the_usual_address_is_this_machine_alone(caplog):
    caplog.set_level("INFO", "gs_reg")
    with served(Address(), "t") as server:
        port = server.get_port()
        assert f"open http://127.0.0.1:{port} " in caplog.text and f"ssh -L {port}:127.0.0.1:{port} " in caplog.text
        with closing(socket.create_connection(("127.0.0.1", port))):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_taken_port(monkeypatch):
    with closing(taken_port()) as taken:
        port = taken.getsockname()[1]
        said = f"--port {port}: in use by another program"
        with pytest.raises(InputError, match=said), served(Address(port=port), "t"):
            pass
        monkeypatch.setattr("gs_reg.apps.view.server.FIRST_PORT", port)
        with served(Address(), "t") as server:
            assert port < server.get_port() < port + 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: no such address"),
        (["--host", "192.0.2.1", "--allow-remote"], "--host 192.0.2.1 --port 8080: cannot listen there"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1: other machines could connect"),
    ],
)
def test_a_wrong_address_is_one_line(words, said, tmp_path, capsys):
    from gs_reg.io import save_splats

    from .scenes import crossing

    save_splats(tmp_path / "a.ply", crossing())
    assert cli.main(["view", str(tmp_path / "a.ply"), *words]) == 2
    assert capsys.readouterr().err.startswith(f"gs-reg: {said}")


def test_pages_of_other_sites_cannot_speak_to_it():
    with served(Address(), "t") as server:
        url = f"ws://127.0.0.1:{server.get_port()}"
        for origin in ("http://evil.example", f"http://evil.example:{server.get_port()}", "null"):
            with pytest.raises(InvalidStatus, match="403"):
                connect(url, origin=origin, subprotocols=["viser-v1.1.1"])
        for origin in (f"http://127.0.0.1:{server.get_port()}", "http://localhost:9999"):  # a tunnel has its own port
            connect(url, origin=origin, subprotocols=["viser-v1.1.1"]).close()


def test_nobody_can_ask_for_a_tunnel():
    from viser import _messages

    with served(Address(), "t") as server:
        assert _messages.ShareUrlRequest not in server._websock_server._incoming_handlers


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.ply", "no such file or folder of a run"), ("empty.ply", "there are no splats"), ("a.txt", "expected a sp")],
)
def test_what_cannot_be_shown_is_one_line(name, said, tmp_path, capsys):
    from gs_reg.io import save_splats

    from .scenes import crossing

    save_splats(tmp_path / "empty.ply", crossing().rows(slice(0)))
    (tmp_path / "a.txt").write_text("words")
    assert cli.main(["view", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert said in error and name in error and error.count("\n") == 1
