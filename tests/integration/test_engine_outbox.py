"""The outbox: messages stand with what they tell of, and are delivered in order until every receiver has them."""

import csv
import io
import json
from datetime import datetime

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import IntegrityError

from prometheus.db.database import Database
from prometheus.db.privileges import ENGINE_ROLE, current_role
from prometheus.db.repositories.engine_events import raise_alert, raise_fleet_alert
from prometheus.db.repositories.outbox import claim_messages, mark_delivered, mark_failed, put_off
from prometheus.domain.outbox import MessageKind
from prometheus.foundation.errors import DatabaseError
from prometheus.orchestration import due_tasks
from prometheus.orchestration.advance_all import advance_all
from prometheus.orchestration.due_tasks import Done, DueTask, nightly
from prometheus.orchestration.health import Finding
from prometheus.orchestration.outbox.delivery import OutboxConfig, deliver_due
from prometheus.orchestration.outbox.receivers import DeliveryError
from prometheus.pipeline.advance import Outcome
from prometheus.scripts import engine, engine_health, verify_audit
from tests.integration.engine_fleet import MONDAY, TUESDAY, change_strategy

#: Every number that an attempt may be put off by is zero: what fails is due again at once.
AT_ONCE = {"retry_base_seconds": 0.0}


class Postbox:
    """A receiver in memory; ``refuses`` says of a code whether it is not taken."""

    may_hang = False

    def __init__(self, name="postbox") -> None:
        self.name = name
        self.keys: list[str] = []
        self.codes: list[str] = []
        self.refuses = lambda _: False
        self.error = DeliveryError("closed")

    def take(self, message):
        """Take a message or not."""
        code = json.loads(message.text)["payload"].get("code", message.kind.value)
        if self.refuses(code):
            raise self.error
        self.keys.append(message.key)
        self.codes.append(code)


def without_a_price(fleet):
    """Take one of Monday's prices away: an alert of every account's snapshot."""
    fleet.sql("DELETE FROM prices WHERE price_date = :day AND security_id = 3", day=MONDAY)
    with fleet.database.transaction() as connection:
        change_strategy(connection, max_missing_price_share=0.5)


def told(fleet, *codes: str, account: str | None = None):
    """Raise alerts, one for each code: of an account's run where it is given."""
    with fleet.database.transaction() as connection:
        for code in codes:
            if account is None:
                raise_fleet_alert(connection, code=code, message="said")
            else:
                run = fleet.run(account)
                raise_alert(connection, run_id=run.run_id, account_id=account, as_of=MONDAY, code=code, message="said")


def deliver(fleet, *receivers: Postbox, **settings: object):
    """Run one round."""
    config = OutboxConfig(receivers=receivers, **{**AT_ONCE, **settings})
    return deliver_due(fleet.database, config, "deliverer:1:a")


def claim(connection, owner: str, batch: int = 9):
    """Claim messages for a minute."""
    return claim_messages(
        connection, owner=owner, lease_seconds=60, batch=batch, base_seconds=30.0, longest_seconds=3600.0
    )


def column(fleet, name: str):
    """Return a column of the outbox, in order."""
    return [row[0] for row in fleet.sql(f"SELECT {name} FROM outbox ORDER BY message_id")]


def ask(fleet, command, *arguments: str, **environment: str):
    """Run a command inside this process."""
    return CliRunner().invoke(
        command, list(arguments), env={"PROMETHEUS_DATABASE_URL": fleet.url, **environment}, catch_exceptions=False
    )


def test_alert_and_message_are_one(fleet):
    """An alert has its message from the start, with all that it says; one that exists already has no second one."""
    fleet.ready(account_id="ACC-1")
    told(fleet, "STALE_RISK", account="ACC-1")
    told(fleet, "STALE_RISK", account="ACC-1")
    told(fleet, "STUCK_RUNS")
    run_id = fleet.run("ACC-1").run_id
    first, second = fleet.sql("SELECT * FROM outbox ORDER BY message_id")
    assert (first.kind, first.run_id, first.account_id, first.delivered_at) == ("ALERT", run_id, "ACC-1", None)
    assert {**first.payload, "alert_id": None, "raised_at": None} == {
        "alert_id": None,
        "run_id": run_id,
        "account": "ACC-1",
        "as_of": MONDAY.isoformat(),
        "code": "STALE_RISK",
        "message": "said",
        "details": {},
        "raised_at": None,
    }
    raised = fleet.one("SELECT recorded_at FROM alerts WHERE code = 'STALE_RISK'")
    assert datetime.fromisoformat(first.payload["raised_at"]) == raised
    assert (second.run_id, second.account_id, second.payload["code"]) == (None, None, "STUCK_RUNS")
    assert first.idempotency_key.startswith(f"alert-{first.payload['alert_id']}-")
    assert first.idempotency_key != second.idempotency_key


def test_message_of_a_transaction_that_fails_is_not_there(fleet):
    """A transaction that is rolled back leaves neither the alert nor a message."""

    def tell_and_fail():
        with fleet.database.transaction() as connection:
            raise_fleet_alert(connection, code="X", message="said")
            connection.exec_driver_sql("INSERT INTO due_tasks DEFAULT VALUES")

    with pytest.raises(IntegrityError, match="null value"):
        tell_and_fail()
    assert fleet.one("SELECT count(*) FROM outbox") == fleet.one("SELECT count(*) FROM alerts") == 0


def test_message_that_cannot_be_written_takes_its_phase_along(fleet):
    """A phase whose alert has no message is not committed: neither transition, nor snapshot, nor alert."""
    without_a_price(fleet)
    fleet.on_insert("outbox", "RAISE EXCEPTION 'no space'", "NEW.payload ->> 'code' = 'MISSING_PRICE'")
    fleet.ready(account_id="ACC-1")
    summary = fleet.advance(retry_base_seconds=1000.0)
    assert summary.outcomes == {Outcome.RETRY: 1}
    assert fleet.run("ACC-1").phase == "DATA_READY"
    assert fleet.alerts() == []
    assert fleet.one("SELECT count(*) FROM staged_snapshots") == 0
    fleet.leave_alone("outbox")
    fleet.set_clock("1 hour")
    fleet.advance()
    assert ("ACC-1", "MISSING_PRICE") in fleet.alerts()
    assert fleet.one("SELECT count(*) FROM outbox WHERE payload ->> 'code' = 'MISSING_PRICE'") == 1


def test_phase_whose_commit_fails_tells_nothing(fleet):
    """Where the COMMIT of a phase fails, the alerts it had written are gone with it, and so are their messages."""
    without_a_price(fleet)
    fleet.sql(
        "CREATE FUNCTION too_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too late'; END $$"
    )
    fleet.sql(
        "CREATE CONSTRAINT TRIGGER too_late AFTER INSERT ON staged_snapshots DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION too_late()"
    )
    fleet.ready(account_id="ACC-1")
    assert fleet.advance(retry_base_seconds=1000.0).outcomes == {Outcome.RETRY: 1}
    assert fleet.alerts() == []
    assert fleet.one("SELECT count(*) FROM outbox") == 0


def test_alert_of_a_reset_run_is_told_anew(fleet):
    """After a reset the same alert may be raised again: another message with another key, and the old one stays."""
    fleet.ready(account_id="ACC-1")
    told(fleet, "RUN_FAILED", account="ACC-1")
    fleet.sql("UPDATE engine_runs SET phase = 'FAILED', error = '{}' WHERE account_id = 'ACC-1'")
    done = fleet.invoke("--as-of", MONDAY, "--account", "ACC-1", "--reset", "--reason", "repaired")
    assert done.exit_code == 0, done.output
    told(fleet, "RUN_FAILED", account="ACC-1")
    assert len(set(column(fleet, "idempotency_key"))) == 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE outbox SET payload = '{}'",
        "UPDATE outbox SET idempotency_key = 'other'",
        "UPDATE outbox SET created_at = engine_now()",
        "UPDATE outbox SET lease_token = lease_token - 1",
        "DELETE FROM outbox",
        "TRUNCATE outbox CASCADE",
    ],
)
def test_messages_are_not_altered(fleet, change):
    """What a message says, and that it is there, nobody changes; only its delivery moves."""
    told(fleet, "X")
    with pytest.raises(IntegrityError, match=r"not to be altered|append-only"):
        fleet.sql(change)
    fleet.sql("UPDATE outbox SET next_attempt_at = engine_now(), attempt = 3, last_error = 'x'")


def test_engine_role_delivers_and_alters_nothing(fleet):
    """The role that commands work as may deliver messages and add to them, and lacks the right to anything else."""
    database = Database(fleet.url, role=ENGINE_ROLE)
    box = Postbox()
    try:
        with database.transaction() as connection:
            assert current_role(connection) == ENGINE_ROLE
            raise_fleet_alert(connection, code="X", message="said")
        assert deliver_due(database, OutboxConfig(receivers=(box,)), "me").delivered == 1
        for change in ("UPDATE outbox SET payload = '{}'", "DELETE FROM outbox", "TRUNCATE outbox CASCADE"):
            with pytest.raises(DatabaseError) as caught, database.transaction() as connection:
                connection.exec_driver_sql(change)
            assert caught.value.code == "PERMISSION"
    finally:
        database.close()
    assert box.codes == ["X"]


def test_delivered_message_stays_delivered(fleet):
    """A delivered message is not set back, neither to be sent again nor to be taken by others."""
    told(fleet, "X")
    deliver(fleet, Postbox())
    for change in ("delivered_at = NULL", "taken_by = '{}'", "attempt = 0"):
        with pytest.raises(IntegrityError, match="not to be altered"):
            fleet.sql(f"UPDATE outbox SET {change}")


def test_everything_due_is_delivered_once(fleet):
    """A round delivers every message in the order in which it was written; the next one finds nothing."""
    codes = [f"C{number:03d}" for number in range(7)]
    told(fleet, *codes)
    box = Postbox()
    done = deliver(fleet, box, batch=3)
    assert (box.codes, done.delivered, done.failed, done.given_up) == (codes, 7, 0, [])
    assert box.keys == column(fleet, "idempotency_key")
    assert deliver(fleet, box).delivered == 0
    assert set(column(fleet, "attempt")) == {1}
    assert {tuple(names) for names in column(fleet, "taken_by")} == {("postbox",)}
    assert column(fleet, "owner_instance") == [None] * 7


def test_messages_of_an_account_keep_their_order(fleet):
    """What was written later about an account waits for what failed before; other accounts do not wait."""
    fleet.ready()
    told(fleet, "A1", account="ACC-1")
    told(fleet, "B1", account="ACC-2")
    told(fleet, "A2", account="ACC-1")
    box = Postbox()
    box.refuses = lambda code: code == "A1"
    done = deliver(fleet, box, batch=1)
    assert (box.codes, done.failed) == (["B1"], 1)
    assert column(fleet, "attempt") == [1, 1, 0]
    box.refuses = lambda _: False
    deliver(fleet, box)
    assert box.codes == ["B1", "A1", "A2"]


def test_order_holds_within_a_batch_and_while_the_first_is_put_off(fleet):
    """A later message of the account is neither delivered in the same batch nor while the earlier one waits."""
    fleet.ready()
    told(fleet, "A1", "A2", account="ACC-1")
    box = Postbox()
    box.refuses = lambda code: code == "A1"
    deliver(fleet, box, retry_base_seconds=1000.0)
    box.refuses = lambda _: False
    deliver(fleet, box, retry_base_seconds=1000.0)
    assert box.codes == []
    assert column(fleet, "attempt") == [1, 0]
    fleet.set_clock("1 hour")
    deliver(fleet, box)
    assert box.codes == ["A1", "A2"]


def test_what_fails_is_tried_again_later_and_later(fleet):
    """A refused message waits for base * 2^n with jitter, at most the longest delay, and says why it failed."""
    told(fleet, "X")
    box = Postbox()
    box.refuses = lambda _: True
    for attempt, wait in enumerate((100, 200, 400, 500, 500), start=1):
        began = fleet.one("SELECT engine_now()")
        deliver(fleet, box, retry_base_seconds=100.0, longest_retry_seconds=500.0)
        (row,) = fleet.sql("SELECT attempt, last_error, next_attempt_at, engine_now() AS now FROM outbox")
        assert (row.attempt, row.last_error) == (attempt, "postbox: closed")
        assert (row.next_attempt_at - began).total_seconds() > 0.74 * wait
        assert (row.next_attempt_at - row.now).total_seconds() < 1.26 * wait
        fleet.sql("UPDATE outbox SET next_attempt_at = engine_now()")


def test_message_that_nobody_takes_is_given_up_and_armed_again(fleet):
    """After its last attempt a message is named by engine_health until --retry has it tried anew, with a reason."""
    fleet.advance()
    told(fleet, "X")
    box = Postbox()
    box.refuses = lambda _: True
    rounds = [deliver(fleet, box, max_attempts=2) for _ in range(3)]
    assert [len(one.given_up) for one in rounds] == [0, 1, 0]
    assert rounds[1].given_up[0].endswith("was given up: postbox: closed")
    assert column(fleet, "given_up_at") != [None]

    health = ask(fleet, engine_health.command)
    assert health.exit_code == 1
    assert health.stdout.startswith("UNDELIVERED_ALERTS: 1 message(s) were given up")
    assert "The oldest says: postbox: closed" in health.stdout

    assert ask(fleet, engine.command, "outbox", "--retry").exit_code == 2
    assert ask(fleet, engine.command, "outbox", "--reason", "x").exit_code == 2
    armed = ask(fleet, engine.command, "outbox", "--retry", "--reason", "pager repaired")
    assert (armed.exit_code, armed.stdout) == (0, "1 message(s) will be tried again at the next tick.\n")
    assert ask(fleet, engine_health.command).exit_code == 0
    kinds = fleet.sql("SELECT kind, details FROM outbox_events ORDER BY event_id")
    assert [row.kind for row in kinds] == ["GIVEN_UP", "RETRY"]
    assert kinds[1].details["reason"] == "pager repaired"
    assert kinds[1].details["error"] == "postbox: closed"
    assert kinds[1].details["attempts"] == 2

    box.refuses = lambda _: False
    deliver(fleet, box, max_attempts=2)
    assert box.codes == ["X"]
    assert ask(fleet, engine.command, "outbox", "--retry", "--reason", "again").stdout.startswith("0 message(s)")


def test_message_that_waits_too_long_is_named(fleet):
    """A message that is still tried is named by engine_health once it is older than the limit."""
    fleet.advance()
    told(fleet, "X")
    assert ask(fleet, engine_health.command).exit_code == 0
    fleet.set_clock("16 minutes")
    fleet.sql("UPDATE engine_hosts SET last_seen_at = engine_now()")
    done = ask(fleet, engine_health.command)
    assert done.exit_code == 1
    assert done.stdout.startswith("OUTBOX_STUCK: 1 message(s) have waited for more than 15 minutes")
    assert ask(fleet, engine_health.command, PROMETHEUS_HEALTH_UNDELIVERED_MINUTES="20").exit_code == 0


def test_message_that_kills_its_deliverers_is_given_up(fleet):
    """A message whose attempts all ended without an answer is not tried for ever."""
    told(fleet, "X")
    fleet.sql("UPDATE outbox SET attempt = 3")
    box = Postbox()
    (said,) = deliver(fleet, box, max_attempts=3).given_up
    assert said.endswith("3 attempts ended without an answer.")
    assert box.codes == []


def test_receiver_that_has_it_is_not_asked_again(fleet):
    """Of several receivers only those that lack a message are asked again; it is delivered once all have it."""
    told(fleet, "X")
    first, second = Postbox("first"), Postbox("second")
    second.refuses = lambda _: True
    assert deliver(fleet, first, second).failed == 1
    assert column(fleet, "taken_by") == [["first"]]
    second.refuses = lambda _: False
    assert deliver(fleet, first, second).delivered == 1
    assert (first.codes, second.codes) == (["X"], ["X"])


def test_receiver_that_lets_its_time_pass_is_asked_once_a_round(fleet):
    """After one time limit a receiver is left in peace; what others took of the rest is kept, and nothing charged."""
    told(fleet, "X", "Y", "Z")
    slow, quick = Postbox("slow"), Postbox("quick")
    slow.refuses, slow.error = lambda _: True, DeliveryError("silent", code="TIMEOUT")
    done = deliver(fleet, slow, quick)
    assert (done.delivered, done.failed, quick.codes) == (0, 1, ["X", "Y", "Z"])
    assert column(fleet, "attempt") == [1, 0, 0]
    assert column(fleet, "taken_by") == [["quick"]] * 3
    slow.refuses = lambda _: False
    assert deliver(fleet, slow, quick).delivered == 3
    assert (slow.codes, quick.codes) == (["X", "Y", "Z"], ["X", "Y", "Z"])


def test_round_ends_once_nobody_is_left_to_ask(fleet):
    """Three refusals in a row end the round for a receiver; the messages not tried are given back uncharged."""
    told(fleet, *"ABCDE")
    box = Postbox()
    box.refuses = lambda _: True
    assert deliver(fleet, box).failed == 3
    assert column(fleet, "attempt") == [1, 1, 1, 0, 0]
    assert column(fleet, "owner_instance") == [None] * 5


def test_round_that_was_told_to_end_charges_nothing(fleet):
    """Told to end, a deliverer begins with no further message and gives back what it claimed."""
    told(fleet, "A", "B", "C")
    box = Postbox()
    config = OutboxConfig(receivers=(box,), **AT_ONCE)
    deliver_due(fleet.database, config, "me", must_stop=lambda: len(box.codes) == 1)
    assert box.codes == ["A"]
    assert column(fleet, "attempt") == [1, 0, 0]
    assert deliver_due(fleet.database, config, "me", seconds=0.0).delivered == 0
    assert deliver_due(fleet.database, config, "me").delivered == 2


def test_claimed_messages_are_somebody_elses(fleet):
    """A message under a live lease is claimed by nobody else; once it ran out it is, and the late mark is refused."""
    told(fleet, "X")
    with fleet.database.transaction() as connection:
        (mine,) = claim(connection, "a", batch=9)
        assert claim(connection, "b", batch=9) == ()
    fleet.set_clock("61 seconds")
    with fleet.database.transaction() as connection:
        (theirs,) = claim(connection, "b", batch=9)
        assert (theirs.token, theirs.attempt) == (mine.token + 1, 2)
    with fleet.database.transaction() as connection:
        late = {"error": "x", "base_seconds": 0, "longest_seconds": 0, "max_attempts": 1}
        assert not mark_delivered(connection, mine, frozenset({"a"}))
        assert not mark_failed(connection, mine, frozenset(), **late)
        put_off(connection, mine, frozenset(), seconds=0)
    assert column(fleet, "owner_instance") == ["b"]
    with fleet.database.transaction() as connection:
        assert mark_delivered(connection, theirs, frozenset({"a"}))
        assert not mark_delivered(connection, theirs, frozenset({"a"}))


def test_messages_locked_by_another_claim_are_skipped(fleet):
    """A claim waits for no message that another one is just claiming, and takes the others."""
    told(fleet, "X", "Y")
    with fleet.database.transaction() as first, fleet.database.transaction() as second:
        (mine,) = claim(first, "a", batch=1)
        second.exec_driver_sql("SET LOCAL lock_timeout = 2000")
        (theirs,) = claim(second, "b", batch=9)
    assert {mine.payload["code"], theirs.payload["code"]} == {"X", "Y"}


def test_lease_from_a_clock_that_stepped_back_is_taken_over(fleet):
    """A lease further away than two lengths was taken before the clock stepped back, and holds nothing."""
    told(fleet, "X")
    with fleet.database.transaction() as connection:
        claim(connection, "a", batch=9)
    fleet.stop_clock()
    fleet.sql("UPDATE outbox SET lease_expires_at = engine_now() + interval '121 seconds'")
    assert deliver(fleet, Postbox(), round_seconds=-15.0, timeout_seconds=14.0).delivered == 0
    with fleet.database.transaction() as connection:
        assert len(claim(connection, "b", batch=9)) == 1


def test_clock_that_stepped_back_silences_no_message(fleet):
    """What was written before the clock stepped back leaves at once, tried before or not, and in its order."""
    fleet.ready()
    fleet.set_clock("3 hours")
    told(fleet, "A1", account="ACC-1")
    box, settings = Postbox(), {"retry_base_seconds": 100.0}
    box.refuses = lambda _: True
    assert deliver(fleet, box, **settings).failed == 1
    told(fleet, "A2", account="ACC-1")
    box.refuses = lambda _: False
    assert deliver(fleet, box, **settings).delivered == 0, "the first waits for its retry, the second for the first"
    fleet.set_clock("175 minutes")
    box.refuses = lambda code: code == "A1"
    assert (deliver(fleet, box, **settings).failed, box.codes) == (1, [])
    box.refuses = lambda _: False
    assert deliver(fleet, box, **settings).delivered == 0, "put off by the clock that is valid now"
    fleet.set_clock("0")
    assert deliver(fleet, box, **settings).delivered == 2
    assert box.codes == ["A1", "A2"]


def test_message_from_a_clock_that_was_ahead_is_named(fleet):
    """A message that nobody has and that was written further in the future than the limit is a finding as well."""
    fleet.advance()
    fleet.set_clock("5 minutes")
    told(fleet, "X")
    fleet.set_clock("0")
    assert ask(fleet, engine_health.command).exit_code == 0
    fleet.set_clock("3 hours")
    told(fleet, "Y")
    fleet.set_clock("0")
    done = ask(fleet, engine_health.command)
    assert done.exit_code == 1
    assert "OUTBOX_STUCK: 1 message(s)" in done.stdout
    assert "the oldest for 0." in done.stdout


def test_alert_of_a_call_leaves_in_it(fleet):
    """Alerts raised before the runs and during them are delivered by the same tick."""
    without_a_price(fleet)
    fleet.ready(account_id="ACC-1")
    told(fleet, "BEFORE")
    box = Postbox()
    summary = advance_all(fleet.database, fleet.config(), fleet.database.sibling, outbox=OutboxConfig(receivers=(box,)))
    assert box.codes == ["BEFORE", "MISSING_PRICE"]
    assert (summary.delivered, summary.undelivered, summary.problems) == (2, 0, [])


def test_frozen_fleet_still_tells(fleet):
    """While the fleet is frozen alerts go out all the same: they concern people, not trades."""
    told(fleet, "X")
    fleet.sql("UPDATE engine_flags SET frozen = true, reason = 'test'")
    done = fleet.invoke("--advance-all", "--workers", "0")
    assert done.exit_code == 0
    assert done.stdout.endswith("nothing committed; delivered 1 messages\n")
    assert None not in column(fleet, "delivered_at")


def test_what_was_given_up_in_a_call_needs_a_person(fleet, tmp_path):
    """A tick that gives a message up says so on standard error and ends with exit code 1, frozen or not."""
    told(fleet, "X", "Y")
    fleet.sql("UPDATE outbox SET attempt = 19")
    settings = {"PROMETHEUS_ALERT_FILE": str(tmp_path / "gone" / "told"), "PROMETHEUS_RETRY_BASE_SECONDS": "0"}
    fleet.sql("UPDATE outbox SET attempt = 18 WHERE message_id = 2")
    done = fleet.invoke("--advance-all", "--workers", "0", **settings)
    assert done.exit_code == 1
    assert done.stdout.endswith("nothing to do; delivered 0 messages, 2 not\n")
    assert "was given up: file: " in done.stderr
    fleet.sql("UPDATE engine_flags SET frozen = true, reason = 'test'")
    done = fleet.invoke("--advance-all", "--workers", "0", **settings)
    assert done.exit_code == 1
    assert "was given up: file: " in done.stderr


def test_deliveries_that_cannot_be_made_hold_up_no_run(fleet):
    """Whatever keeps the outbox from being read, runs go on."""
    fleet.ready(account_id="ACC-1")
    told(fleet, "X")
    fleet.sql("ALTER TABLE outbox RENAME COLUMN last_error TO gone")
    fleet.sql("ALTER TABLE outbox RENAME COLUMN attempt TO tries")
    assert fleet.advance().outcomes == {Outcome.PERSISTED: 1}


def test_alerts_of_a_due_task_stand_with_its_report(fleet, monkeypatch):
    """A sweep's alerts and its report are one transaction: where an alert fails the task is not done either."""
    task = DueTask(nightly, lambda _: Done({"findings": ["X"]}, (Finding("X", "said"),)))
    monkeypatch.setattr(due_tasks, "DUE_TASKS", {"monitoring-sweep": task})
    fleet.advance()
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now()")
    fleet.on_insert("outbox", "RAISE EXCEPTION 'no space'")
    with pytest.raises(Exception, match="no space"):
        fleet.advance()
    assert fleet.alerts() == []
    assert fleet.one("SELECT result FROM due_tasks") == {}
    fleet.leave_alone("outbox")
    fleet.set_clock("1 hour")
    fleet.advance()
    assert fleet.alerts() == [(None, "X")]
    assert fleet.one("SELECT result FROM due_tasks") == {"findings": ["X"]}


def test_anchor_of_the_day_leaves_by_itself(fleet, tmp_path):
    """The evening's anchor is stored and delivered without anybody's doing, once for each state of the chains."""
    path = tmp_path / "told.jsonl"
    fleet.ready()
    fleet.advance()
    for _ in range(2):
        fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() WHERE name = 'audit-anchor'")
        done = fleet.invoke("--advance-all", "--workers", "0", PROMETHEUS_ALERT_FILE=str(path))
        assert done.exit_code == 0, done.stderr
    (line,) = path.read_text().splitlines()
    message = json.loads(line)
    digest = fleet.one("SELECT encode(digest, 'hex') FROM audit_anchors")
    assert message["kind"] == "ANCHOR"
    assert message["payload"] == {"as_of": MONDAY.isoformat(), "digest": digest, "accounts": 2}
    assert message["idempotency_key"] == f"anchor-{MONDAY}-{digest}"

    fleet.ready(TUESDAY)
    fleet.advance()
    with path.open("a") as file:
        file.write('{"kind": "AL\n{"kind": "ANCHOR", "payload": {"as_of": "2024-06-24", "digest": "12"}}\n\n')
    checked = ask(fleet, verify_audit.command, "--anchors", str(path))
    assert checked.exit_code == 0, checked.output
    assert "2 anchors: nothing altered" in checked.stdout
    assert [line.endswith("is not a message and was skipped.") for line in checked.stderr.splitlines()] == [True] * 2

    forged = {**message, "payload": {**message["payload"], "digest": "0" * 64}}
    directory = tmp_path / "told"
    directory.mkdir()
    (directory / "x.json").write_text(json.dumps(forged))
    checked = ask(fleet, verify_audit.command, "--anchors", str(directory))
    assert checked.exit_code == 1
    assert "the published one is 0000" in checked.stderr
    (directory / "x.json").write_text(json.dumps({"kind": "ALERT"}))
    checked = ask(fleet, verify_audit.command, "--anchors", str(directory))
    assert checked.exit_code == 2
    assert "There is no audit anchor in" in checked.stderr
    (directory / "x.json").write_bytes(b"\xff")
    assert ask(fleet, verify_audit.command, "--anchors", str(directory)).exit_code == 2


def test_fleet_without_runs_has_nothing_to_anchor(fleet):
    """Before the first run the evening's anchor says so and is no failure."""
    fleet.advance()
    fleet.sql("UPDATE due_tasks SET next_due_at = engine_now() WHERE name = 'audit-anchor'")
    assert not fleet.advance().needs_a_person
    assert "no runs" in fleet.one("SELECT result ->> 'skipped' FROM due_tasks WHERE name = 'audit-anchor'")


def test_people_see_the_outbox(fleet):
    """The command prints every message as CSV, table or JSON, or only what nobody has yet."""
    told(fleet, "FIRST")
    deliver(fleet, Postbox())
    told(fleet, "SECOND")
    rows = list(csv.DictReader(io.StringIO(ask(fleet, engine.command, "outbox").stdout)))
    assert [(row["state"], row["kind"], row["taken_by"]) for row in rows] == [
        ("DELIVERED", "ALERT", "postbox"),
        ("WAITING", "ALERT", ""),
    ]
    assert json.loads(rows[0]["payload"])["code"] == "FIRST"
    (row,) = json.loads(ask(fleet, engine.command, "outbox", "--undelivered", "--format", "json").stdout)
    assert row["payload"]["code"] == "SECOND"
    table = ask(fleet, engine.command, "outbox", "--format", "table").stdout.splitlines()
    assert len(table) == 3
    assert table[0].split()[:3] == ["message_id", "kind", "state"]
    with fleet.database.transaction() as connection:
        claim(connection, "a", batch=1)
    assert "UNDER_WAY" in ask(fleet, engine.command, "outbox", "--undelivered").stdout


def test_kinds_of_messages_are_those_of_the_database(fleet):
    """The database takes exactly the kinds that the code knows."""
    for kind in MessageKind:
        fleet.sql(
            f"INSERT INTO outbox (kind, idempotency_key, payload) VALUES ('{kind.value}', '{kind.value}', '{{}}')"
        )
    with pytest.raises(IntegrityError, match="ck_outbox_kind"):
        fleet.sql("INSERT INTO outbox (kind, idempotency_key, payload) VALUES ('ORDER', 'x', '{}')")
