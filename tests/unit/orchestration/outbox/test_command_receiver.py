import os
import signal
import subprocess
import threading

import pytest

from prometheus.domain.outbox import MessageKind
from prometheus.orchestration.outbox.command_receiver import CommandReceiver
from prometheus.orchestration.outbox.receivers import OutgoingMessage


def test_a_process_told_to_end_while_it_starts_its_command_ends_the_command(monkeypatch):
    """SIGTERM that comes before the command is known waits until it is, and the command ends with the process."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            started.append(self)
            # To this thread: a test's process has others, in which SIGTERM does not wait; a courier has none.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def end(number, frame):
        raise SystemExit(1)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit):
            CommandReceiver(("sleep", "3000"), dict(os.environ), 300.0).take(
                OutgoingMessage(MessageKind.ALERT, "key", "{}", 1)
            )
    finally:
        signal.signal(signal.SIGTERM, before)
        ended = [command.poll() for command in started]
        for command in started:
            command.kill()
    assert ended == [-signal.SIGKILL]


def test_the_command_can_be_told_to_end():
    """The command does not inherit that SIGTERM waits."""
    told = ("sh", "-c", "kill -TERM $$; exit 0")
    with pytest.raises(Exception, match="was ended by SIGTERM"):
        CommandReceiver(told, dict(os.environ), 300.0).take(OutgoingMessage(MessageKind.ALERT, "key", "{}", 1))
