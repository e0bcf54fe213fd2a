"""Receivers of messages: real files, real commands, real servers."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import structlog

from prometheus.domain.outbox import ClaimedMessage, MessageKind
from prometheus.orchestration.outbox.command_receiver import CommandReceiver
from prometheus.orchestration.outbox.courier import Courier
from prometheus.orchestration.outbox.file_receivers import DirectoryReceiver, FileReceiver
from prometheus.orchestration.outbox.http_receiver import HttpReceiver
from prometheus.orchestration.outbox.receivers import DeliveryError, LogReceiver, outgoing_message

MESSAGE = outgoing_message(
    ClaimedMessage(
        message_id=7,
        kind=MessageKind.ALERT,
        idempotency_key="alert-1-abc",
        payload={"code": "STALE_RISK", "message": "zwölf Stunden"},
        created_at=datetime(2024, 6, 24, tzinfo=UTC),
        account_id=None,
        attempt=2,
        taken_by=frozenset(),
        token=1,
        owner="me",
    )
)


class Inbox(BaseHTTPRequestHandler):
    """Answers as the path says, and remembers what it was sent."""

    received: ClassVar[list] = []

    def do_POST(self):
        """Take a message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.headers["Idempotency-Key"], self.headers["Content-Type"], json.loads(body)))
        status = int(self.path.strip("/"))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/200")
        self.end_headers()
        self.wfile.write(b"\nno\n thanks" if status >= 400 else b"")

    def log_message(self, *_: object):
        """Say nothing."""


@pytest.fixture
def inbox():
    """A server on a free local port; its address."""
    Inbox.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_letter_is_the_same_text_at_every_attempt():
    """What is handed over names kind and key, and nothing that changes from one attempt to the next."""
    assert json.loads(MESSAGE.text) == {
        "format": 1,
        "idempotency_key": "alert-1-abc",
        "kind": "ALERT",
        "created_at": "2024-06-24T00:00:00+00:00",
        "payload": {"code": "STALE_RISK", "message": "zwölf Stunden"},
    }
    assert "\n" not in MESSAGE.text


def test_a_file_grows_by_one_line(tmp_path):
    """Each message is one line of JSON behind what the file held already."""
    receiver = FileReceiver(tmp_path / "told.jsonl")
    receiver.take(MESSAGE)
    receiver.take(MESSAGE)
    assert (tmp_path / "told.jsonl").read_text() == f"{MESSAGE.text}\n" * 2


def test_a_torn_line_spoils_no_other(tmp_path):
    """Where somebody was ended in the middle of a line the next message begins on a line of its own."""
    path = tmp_path / "told.jsonl"
    path.write_text('{"kind": "AL')
    FileReceiver(path).take(MESSAGE)
    assert path.read_text().splitlines() == ['{"kind": "AL', MESSAGE.text]


@pytest.mark.parametrize("kind", [FileReceiver, DirectoryReceiver])
def test_a_place_that_is_not_there_is_named(tmp_path, kind):
    """A directory that does not exist is a refusal that names the place."""
    with pytest.raises(DeliveryError, match=r"gone.* cannot be written: No such file"):
        kind(tmp_path / "gone" / "told").take(MESSAGE)


def test_a_disk_that_is_full_leaves_no_part_of_a_line(tmp_path):
    """Where only a part of the line could be written it is cut off again and the message is refused."""
    path = tmp_path / "told.jsonl"
    path.write_text("before\n")
    pid = os.fork()
    if not pid:
        import resource
        import signal

        # The kernel's own limit for files: the write ends in the middle, as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
        try:
            FileReceiver(path).take(MESSAGE)
        except DeliveryError as error:
            os._exit(0 if "only 13 of" in error.message else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert path.read_text() == "before\n"


def test_a_directory_has_a_message_once(tmp_path):
    """A message delivered twice is one file, named by its key, and nothing else is left behind."""
    receiver = DirectoryReceiver(tmp_path)
    receiver.take(MESSAGE)
    receiver.take(MESSAGE)
    assert [file.name for file in tmp_path.iterdir()] == ["alert-1-abc.json"]
    assert (tmp_path / "alert-1-abc.json").read_text() == f"{MESSAGE.text}\n"


def command(body: str, seconds: float = 300.0) -> CommandReceiver:
    """Return a receiver that runs some Python."""
    return CommandReceiver((sys.executable, "-c", body), {"PATH": os.environ["PATH"]}, seconds)


def test_a_command_gets_message_and_key(tmp_path):
    """A command finds the message on its standard input and the key in its environment; exit code 0 is an answer."""
    out = tmp_path / "out"
    command(
        f"import os, sys; open({str(out)!r}, 'w').write(os.environ['PROMETHEUS_IDEMPOTENCY_KEY'] + sys.stdin.read())"
    ).take(MESSAGE)
    assert out.read_text() == f"alert-1-abc{MESSAGE.text}\n"


def test_a_command_that_reads_nothing_has_taken_it():
    """A command that ends well without reading its input is believed."""
    command("pass").take(MESSAGE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import sys; sys.exit('no\\n  pager')", "ended with exit code 1: no pager."),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL."),
    ],
)
def test_a_command_that_fails_is_quoted(body, said):
    """Any other end is a refusal with the last words of the command."""
    with pytest.raises(DeliveryError, match=said):
        command(body).take(MESSAGE)


def test_a_command_that_is_not_there_is_named():
    """A program that cannot be started is a refusal."""
    with pytest.raises(DeliveryError, match="/no/such/pager cannot be started: No such file"):
        CommandReceiver(("/no/such/pager",), {}, 1.0).take(MESSAGE)


def _runs(stat):
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path):
    """At its time limit a command is killed together with its children."""
    pids = tmp_path / "pids"
    # The shell is there at once: no machine is so slow that it has not said who it is when its time is over.
    body = f"sleep 3000 & echo $! >> {pids}; echo $$ >> {pids}; wait"
    with pytest.raises(DeliveryError, match="not done after 2 seconds") as caught:
        CommandReceiver(("sh", "-c", body), {"PATH": os.environ["PATH"]}, 2.0).take(MESSAGE)
    assert caught.value.code == "TIMEOUT"
    assert len(pids.read_text().split()) == 2
    for pid in pids.read_text().split():
        deadline = time.monotonic() + 300
        while _runs(Path(f"/proc/{pid}/stat")):
            assert time.monotonic() < deadline, f"process {pid} still runs"
            time.sleep(0.02)


def test_a_server_gets_message_and_key(inbox):
    """A POST carries the message as JSON and the key as a header; a status of 2xx is an answer."""
    HttpReceiver(f"{inbox}/202", 300.0).take(MESSAGE)
    assert Inbox.received == [("alert-1-abc", "application/json", json.loads(MESSAGE.text))]


@pytest.mark.parametrize("status", [302, 400, 503])
def test_a_server_that_refuses_is_quoted(inbox, status):
    """Any other status is a refusal, a redirect too; the address's path is not repeated."""
    with pytest.raises(DeliveryError, match=f"127.0.0.1 answered {status}") as caught:
        HttpReceiver(f"{inbox}/{status}", 300.0).take(MESSAGE)
    assert caught.value.message.endswith(": no thanks." if status >= 400 else f"{status}.")
    assert len(Inbox.received) == 1


def test_a_server_that_is_not_there_is_named():
    """A port that nobody listens on is a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DeliveryError, match=r"127.0.0.1 cannot be reached: .*refused"):
        HttpReceiver(f"http://127.0.0.1:{port}/secret", 300.0).take(MESSAGE)


def _hang_up(server):
    server.accept()[0].close()


def test_a_server_that_breaks_off_is_named():
    """A connection that ends without an answer is a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_hang_up, args=[server], daemon=True).start()
        with pytest.raises(DeliveryError, match=r"127.0.0.1 (broke off|cannot be reached)"):
            HttpReceiver(f"http://127.0.0.1:{server.getsockname()[1]}/", 300.0).take(MESSAGE)


def test_a_server_that_is_silent_meets_the_time_limit():
    """A server that accepts and never answers is given up after the time limit."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(DeliveryError) as caught:
        HttpReceiver(f"http://127.0.0.1:{server.getsockname()[1]}/", 0.3).take(MESSAGE)
    assert caught.value.code == "TIMEOUT"


def test_a_server_nobody_vouches_for_is_refused(tmp_path):
    """TLS is verified: a server with a certificate of its own making gets nothing."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
         "-subj", "/CN=localhost"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Inbox.received.clear()
    with pytest.raises(DeliveryError, match=r"cannot be reached: .*CERTIFICATE_VERIFY_FAILED"):
        HttpReceiver(f"https://localhost:{server.server_port}/200", 300.0).take(MESSAGE)
    server.shutdown()
    server.server_close()
    assert Inbox.received == []


def test_the_log_is_a_receiver():
    """Without any setting a message is one line of the structured log."""
    with structlog.testing.capture_logs() as lines:
        LogReceiver().take(MESSAGE)
    (line,) = lines
    assert (line["event"], line["log_level"], line["idempotency_key"]) == ("alert", "warning", "alert-1-abc")
    assert (line["code"], line["message"]) == ("STALE_RISK", "zwölf Stunden")


class Trickle:
    """A receiver that heeds no time limit."""

    name = "trickle"
    may_hang = True

    def take(self, _):
        """Take ages."""
        time.sleep(3000)


class Broken:
    """A receiver with a defect."""

    name = "broken"

    def __init__(self, *, may_hang: bool) -> None:
        self.may_hang = may_hang

    def take(self, _):
        """Fail."""
        raise KeyError("defect")


class Deadly:
    """A receiver that takes its process along."""

    name = "deadly"
    may_hang = True

    def take(self, _):
        """End the process."""
        os._exit(3)


@pytest.fixture
def courier():
    """A function that makes couriers, all of which are ended after the test."""
    made = []

    def make(receiver, seconds=300.0, must_stop=lambda: False):
        made.append(Courier(receiver, seconds, must_stop))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_courier_brings_several_letters(courier, tmp_path):
    """One process hands over message after message, and is gone once it is closed."""
    receiver = courier(FileReceiver(tmp_path / "told"))
    receiver.take(MESSAGE)
    process = receiver._process
    receiver.take(MESSAGE)
    assert receiver._process is process
    assert len((tmp_path / "told").read_text().splitlines()) == 2
    receiver.close()
    with pytest.raises(ValueError, match="closed"):
        process.is_alive()


def test_a_courier_that_is_ended_while_it_ends_stays_a_courier(courier, tmp_path, monkeypatch):
    """A signal that meets a courier on its way out does not make it go on with what its parent was about to do."""
    leave, began = os._exit, tmp_path / "leaving"

    def slowly(code):
        began.touch()
        try:
            time.sleep(0.5)
        except SystemExit:
            (tmp_path / "escaped").touch()
        leave(code)

    receiver = courier(FileReceiver(tmp_path / "told"))
    monkeypatch.setattr(os, "_exit", slowly)
    receiver.take(MESSAGE)
    monkeypatch.undo()
    receiver._pipe.close()
    while not began.exists():
        time.sleep(0.01)
    receiver.close()
    assert not (tmp_path / "escaped").exists()


def test_a_courier_that_hangs_is_ended(courier):
    """Whatever heeds no time limit is killed at the courier's, and the next message gets a new courier."""
    receiver = courier(Trickle(), seconds=0.1)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            receiver.take(MESSAGE)
        assert caught.value.code == "TIMEOUT"
        assert time.monotonic() - began < 300


def test_a_courier_stops_when_told(courier):
    """Told to end, the deliverer does not wait for an answer; nobody knows what became of the message."""
    with pytest.raises(DeliveryError) as caught:
        courier(Trickle(), seconds=300.0, must_stop=lambda: True).take(MESSAGE)
    assert caught.value.code == "STOPPED"


@pytest.mark.parametrize("may_hang", [True, False])
def test_a_receivers_defect_is_a_refusal(courier, may_hang):
    """An exception that is not a refusal is one all the same, with its name."""
    with pytest.raises(DeliveryError, match="KeyError: 'defect'"):
        courier(Broken(may_hang=may_hang)).take(MESSAGE)


def test_a_courier_that_dies_is_a_refusal(courier):
    """A courier that ends without an answer has delivered nothing that counts."""
    with pytest.raises(DeliveryError, match="died, or could not be started"):
        courier(Deadly()).take(MESSAGE)
