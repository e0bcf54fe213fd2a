"""Deliverers as processes, killed, stopped and side by side; receivers that are down, slow or silent."""

import http.server
import json
import os
import signal
import socket
import threading
import time
from collections import Counter

import pytest

from prometheus.db.database import Database
from prometheus.db.repositories.engine_events import raise_fleet_alert
from prometheus.orchestration.outbox.delivery import OutboxConfig, deliver_due
from prometheus.orchestration.outbox.file_receivers import FileReceiver
from prometheus.orchestration.outbox.http_receiver import HttpReceiver
from tests.chaos.processes import DEADLINE_SECONDS, Points, wait_for, workers
from tests.integration.engine_fleet import MONDAY, change_strategy, killed_at_exit

#: Longest that a command may take under load before a receiver counts as having held it up.
_PATIENT = DEADLINE_SECONDS


class SignallingReceiver:
    """A file whose deliverer gets a signal after the message was taken and before anybody heard of it."""

    name = "file"
    may_hang = True

    def __init__(self, path, which) -> None:
        self._file = FileReceiver(path)
        self._which = which

    def take(self, message):
        """Take it, and strike the deliverer: this runs in its courier."""
        self._file.take(message)
        os.kill(os.getppid(), self._which)
        time.sleep(1.0)


def _deliverer(fleet, receiver, *, owner="deliverer:1:a", die_at=None, **settings: object):
    """Return a worker's body: one round of deliveries, counted or cut short."""

    def body():
        points = Points(die_at)
        points.install()
        database = Database(fleet.url)
        # Limits that no slow machine runs into.
        patient = {"retry_base_seconds": 0.0, "timeout_seconds": 300.0, "round_seconds": 600.0}
        config = OutboxConfig(receivers=(receiver,), **{**patient, **settings})
        deliver_due(database, config, owner)
        database.close()
        return points.seen

    return body


def _tell(fleet, *codes: str):
    with fleet.database.transaction() as connection:
        for code in codes:
            raise_fleet_alert(connection, code=code, message="said")


def _keys(path) -> Counter:
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(line)["idempotency_key"] for line in lines)


def _stored(fleet) -> list[str]:
    return [row.idempotency_key for row in fleet.sql("SELECT idempotency_key FROM outbox ORDER BY message_id")]


def _delivered(fleet) -> int:
    return fleet.one("SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL")


def test_a_deliverer_killed_before_it_marks_delivers_twice_and_marks_once(fleet, tmp_path):
    """Killed after the receiver had the message, a deliverer leaves it to another: the same line twice, one mark."""
    path = tmp_path / "told"
    _tell(fleet, "X")
    with workers(_deliverer(fleet, SignallingReceiver(path, signal.SIGKILL))) as (victim,):
        assert victim.wait() == -signal.SIGKILL
    assert _delivered(fleet) == 0
    assert sum(_keys(path).values()) == 1
    with workers(_deliverer(fleet, FileReceiver(path), owner="other:1:a")) as (other,):
        other.wait()
    assert _delivered(fleet) == 0, "the dead deliverer's lease still holds"

    fleet.set_clock("1 hour")
    with workers(_deliverer(fleet, FileReceiver(path), owner="other:1:a")) as (other,):
        other.wait()
    assert _keys(path) == {_stored(fleet)[0]: 2}
    first, second = path.read_text().splitlines()
    assert first == second
    (row,) = fleet.sql("SELECT * FROM outbox")
    assert (row.lease_token, row.attempt, row.owner_instance) == (2, 2, None)
    assert row.delivered_at is not None


def test_a_deliverer_stopped_for_longer_than_its_lease_marks_nothing(fleet, tmp_path):
    """A deliverer that stood still while another took its message over finds that out, and its mark is refused."""
    path = tmp_path / "told"
    _tell(fleet, "X")
    with workers(_deliverer(fleet, SignallingReceiver(path, signal.SIGSTOP))) as (stopped,):
        stopped.wait_stopped()
        fleet.set_clock("1 hour")
        with workers(_deliverer(fleet, FileReceiver(path), owner="other:1:a")) as (other,):
            other.wait()
        (before,) = fleet.sql("SELECT * FROM outbox")
        stopped.send(signal.SIGCONT)
        assert stopped.wait() > 0
    (after,) = fleet.sql("SELECT * FROM outbox")
    assert after == before
    assert after.delivered_at is not None
    assert _keys(path) == {_stored(fleet)[0]: 2}


def test_a_deliverer_killed_at_any_statement_loses_no_message(fleet, tmp_path):
    """At whichever statement or COMMIT a deliverer is killed, its message is delivered in the end and marked once."""
    path = tmp_path / "told"
    _tell(fleet, "COUNTED")
    with workers(_deliverer(fleet, FileReceiver(path))) as (counting,):
        points = counting.wait()
    assert 8 < points < 60
    for point in range(points):
        _tell(fleet, f"V{point:03d}")
        with workers(_deliverer(fleet, FileReceiver(path), owner=f"victim:{point}:a", die_at=point)) as (victim,):
            assert victim.wait() == -signal.SIGKILL, f"not killed at point {point}"
        fleet.sql("UPDATE outbox SET lease_expires_at = engine_now() WHERE owner_instance IS NOT NULL")
        with workers(_deliverer(fleet, FileReceiver(path), owner="other:1:a")) as (other,):
            assert other.wait() > 0
        assert _delivered(fleet) == point + 2
    times = _keys(path)
    assert sorted(times) == sorted(_stored(fleet))
    assert set(times.values()) == {1, 2}, "a kill between delivery and mark delivers twice, any other once"
    assert fleet.one("SELECT count(*) FROM outbox WHERE owner_instance IS NOT NULL") == 0


def test_deliverers_at_once_deliver_each_message_once(fleet, tmp_path):
    """Four deliverers that share sixty messages deliver each of them once."""
    path = tmp_path / "told"
    _tell(fleet, *(f"C{number:03d}" for number in range(60)))
    bodies = [_deliverer(fleet, FileReceiver(path), owner=f"deliverer:{number}:a", batch=5) for number in range(4)]
    with workers(*bodies) as running:
        for worker in running:
            worker.wait()
    assert _keys(path) == dict.fromkeys(_stored(fleet), 1)
    assert _delivered(fleet) == 60
    assert {row.attempt for row in fleet.sql("SELECT attempt FROM outbox")} == {1}


def _serve(port, path):
    """Return a worker's body: a server that writes down the key of every message it is sent."""

    class Inbox(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["idempotency_key"] == self.headers["Idempotency-Key"]
            with path.open("a") as file:
                file.write(json.dumps(body) + "\n")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object):
            pass

    return lambda: http.server.HTTPServer(("127.0.0.1", port), Inbox).serve_forever()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def _day_with_an_alert(fleet, day=MONDAY):
    fleet.sql("DELETE FROM prices WHERE price_date = :day AND security_id = 3", day=day)
    with fleet.database.transaction() as connection:
        change_strategy(connection, max_missing_price_share=0.5)
    fleet.ready(day)


def _call(fleet, **settings: str):
    """Run the timer's command as a process of its own; return how it ended."""
    environment = {"PROMETHEUS_RETRY_BASE_SECONDS": "0", "PROMETHEUS_ALERT_TIMEOUT_SECONDS": "120", **settings}
    process = fleet.spawn("--advance-all", "--workers", "1", **environment)
    with killed_at_exit(process):
        out, err = process.communicate(timeout=_PATIENT)
    return process.returncode, out, err


@pytest.mark.long
def test_a_receiver_that_was_down_gets_everything_later(fleet, tmp_path):
    """While a server is down runs go on and nothing is lost; once it is up it gets what a command had all the time."""
    posted, piped, port = tmp_path / "posted", tmp_path / "piped", _free_port()
    settings = {
        "PROMETHEUS_ALERT_URL": f"http://127.0.0.1:{port}/told",
        "PROMETHEUS_ALERT_COMMAND": f"sh -c 'cat >> {piped}; echo $PROMETHEUS_IDEMPOTENCY_KEY >> {piped}.keys'",
    }
    _day_with_an_alert(fleet)
    code, out, err = _call(fleet, **settings)
    assert code == 0, err
    assert out.endswith("2 PERSISTED; delivered 0 messages, 2 not\n")
    keys = _stored(fleet)
    assert len(keys) == 2
    errors = [row.last_error for row in fleet.sql("SELECT last_error FROM outbox")]
    assert all("http: 127.0.0.1 cannot be reached" in error for error in errors)
    with workers(_serve(port, posted)):
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "the server")
        code, out, _ = _call(fleet, **settings)
        assert (code, out.endswith("nothing to do; delivered 2 messages\n")) == (0, True)
    assert _keys(posted) == dict.fromkeys(keys, 1)
    assert _keys(piped) == dict.fromkeys(keys, 1)
    assert (tmp_path / "piped.keys").read_text().split() == keys
    assert _delivered(fleet) == 2


def test_a_receiver_that_hangs_holds_up_no_run(fleet, tmp_path):
    """A command that never ends is killed at its limit, before the runs and after them; they are done all the same."""
    pids = tmp_path / "pids"
    _day_with_an_alert(fleet)
    _tell(fleet, "BEFORE")
    began = time.monotonic()
    code, out, err = _call(
        fleet,
        PROMETHEUS_ALERT_COMMAND=f"sh -c 'echo $$ >> {pids}; sleep 3000'",
        PROMETHEUS_ALERT_TIMEOUT_SECONDS="2",
    )
    assert code == 0, err
    assert time.monotonic() - began < _PATIENT
    assert out.endswith("2 PERSISTED; delivered 0 messages, 2 not\n"), "one was tried before the runs and one after"
    assert set(fleet.phases().values()) == {"PERSISTED"}
    assert fleet.one("SELECT sum(attempt) FROM outbox WHERE last_error LIKE '%was not done after 2 seconds%'") == 2
    for pid in pids.read_text().split():
        # killed at once; a grandchild's entry stays until the system's first process has collected it
        wait_for(lambda group=int(pid): not _there(group), f"the end of process group {pid}")


def _there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGKILL])
def test_a_deliverer_that_ends_takes_its_command_along(fleet, tmp_path, which):
    """Told to end, a deliverer waits for no receiver and charges nothing; killed or not, its command ends with it."""
    pids = tmp_path / "pids"
    _tell(fleet, "X")
    process = fleet.spawn(
        "--advance-all",
        "--workers",
        "1",
        PROMETHEUS_ALERT_COMMAND=f"sh -c 'echo $$ >> {pids}; sleep 3000'",
        PROMETHEUS_ALERT_TIMEOUT_SECONDS="300",
    )
    with killed_at_exit(process):
        wait_for(lambda: pids.exists() and pids.read_text().strip(), "the command to begin")
        process.send_signal(which)
        process.communicate(timeout=_PATIENT)
    if which == signal.SIGTERM:
        assert process.returncode == 143
        (row,) = fleet.sql("SELECT attempt, owner_instance, delivered_at FROM outbox")
        assert tuple(row) == (0, None, None)
    wait_for(lambda: not _group_runs(int(pids.read_text())), "the command to end")


def _group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _trickle(server):
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 ")
        while True:
            time.sleep(0.1)
            connection.sendall(b"x")


def test_a_receiver_that_answers_a_byte_at_a_time_meets_the_limit(fleet):
    """A server that keeps every single wait short and never ends its answer is given up at the limit all the same."""
    _tell(fleet, "X")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: _until_gone(_trickle, server), daemon=True).start()
        # Its own limit is for a single wait, and is not to be met before the one for the message.
        receiver = HttpReceiver(f"http://127.0.0.1:{server.getsockname()[1]}/", 300.0)
        with workers(_deliverer(fleet, receiver, timeout_seconds=0.5)) as (deliverer,):
            assert deliverer.wait() > 0
    (row,) = fleet.sql("SELECT * FROM outbox")
    assert (row.last_error, row.delivered_at, row.attempt) == ("http: No answer after 0.5 seconds.", None, 1)


def _until_gone(act, *arguments: object):
    try:
        act(*arguments)
    except OSError:
        return
