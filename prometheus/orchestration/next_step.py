"""An operator's next step: one sentence and, as a rule, one command, from the report of ``today`` alone.

The table is read from above; the first line that applies is the answer. Each command leads to another state, so that no
two answers alternate; conditions that no command can change are reported and skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from prometheus.db.repositories.unfinished_runs import Wait
from prometheus.orchestration.today import RegionDay, RunNote, Today

#: A command in a sentence.
_COMMAND: Final = re.compile(r"'((?:prometheus|run_engine_state) [^']+)'")


@dataclass(frozen=True, slots=True)
class NextStep:
    """The next step of an operator.

    Attributes:
        sentence: The reason.
        command: What to type; None where nothing is to be typed.
        done: Nothing is left to do.
    """

    sentence: str
    command: str | None = None
    done: bool = False


def next_step(today: Today) -> NextStep:
    """Return what to do next."""
    return next(_steps(today))


def _steps(today: Today) -> Iterator[NextStep]:
    """Yield the lines of the table that apply; the first one is the answer."""
    if not any(region.expected or not region.session for region in today.regions):
        yield NextStep("There is no account yet: load market and fleet.", "prometheus ingest DIR")
    if today.frozen is not None:
        yield NextStep(
            f"The engine is frozen ({today.frozen}). Once the cause is repaired:", "prometheus engine unfreeze"
        )
    if today.frozen_here:
        yield NextStep("RUNNER_FLAG_FROZEN is set here and freezes every run: unset it once its cause is repaired.")
    yield from _data(today)
    yield from _capped(today)
    yield from _failed(today)
    yield from _held(today)
    yield from _begin(today)
    yield from _under_way(today)
    yield from _undelivered(today)
    yield _done(today)


def _data(today: Today) -> Iterator[NextStep]:
    """Report missing or old data while a run of the day depends on them."""
    if not any(_waits_for_data(region) for region in today.regions):
        return
    for age in today.ages:
        if age.usable:
            continue
        reason = age.reason
        if age.kind == "prices" and today.chosen is None and age.newest is not None and (age.age or 0) > 1:
            reason += f" To work on that day instead, give --as-of {age.newest} to each command."
        command = _COMMAND.search(age.remedy)
        yield NextStep(reason if command else f"{reason} {age.remedy}", command[1] if command else None)


def _waits_for_data(region: RegionDay) -> bool:
    return bool(region.waiting or region.not_created)


def _capped(today: Today) -> Iterator[NextStep]:
    """Propose to cancel days that were never marked ready, where no further run may be created beside them."""
    creating = [region for region in today.regions if region.not_created]
    if creating and len(today.earlier_waiting) >= today.cap:
        oldest = min(today.earlier_waiting)
        yield NextStep(
            f"{len(today.earlier_waiting)} earlier days were created and never marked ready, and an account may have "
            f"{today.cap} unfinished runs. End the oldest:",
            f"run_engine_state --as-of {oldest} --region {creating[0].region} --cancel",
        )


def _failed(today: Today) -> Iterator[NextStep]:
    for region in today.regions:
        fresh = [note for note in region.failed if not note.hopeless]
        if fresh:
            first = fresh[0]
            # A region is reset with all its FAILED runs, so only where all of them have not been reset before.
            alone = len(fresh) == 1 or len(fresh) < len(region.failed)
            scope = f"--account {first.account_id}" if alone else f"--region {region.region}"
            yield NextStep(
                f"{_runs(len(fresh))} of {region.as_of} FAILED, first {_told(first)} Once the cause is repaired:",
                f'run_engine_state --as-of {region.as_of} {scope} --reset --reason "WHY"',
            )


def _held(today: Today) -> Iterator[NextStep]:
    held = [note for note in _of(today, Wait.HELD) if not note.mended]
    for note in held:
        if note.remedy is not None:
            yield NextStep(f"{_runs(len(held))} held, first {_told(note)}", note.remedy)
    if held:
        yield NextStep(
            f"{_runs(len(held))} held, first {_told(held[0])} No command repairs it: see {held[0].code} in the runbook."
        )


def _begin(today: Today) -> Iterator[NextStep]:
    """Propose the command of the day, which begins it or tries it again."""
    begun = sum(len(region.waiting) + len(region.not_created) for region in today.regions)
    changed = [note for note in _of(today, Wait.HELD) if note.mended]
    due = _of(today, Wait.DUE)
    if begun or changed or due:
        parts = (
            f"{begun} to begin" if begun else "",
            f"{len(changed)} held, and something was stored since that may end it" if changed else "",
            f"{len(due)} ready" if due else "",
        )
        yield NextStep(f"Runs: {', '.join(part for part in parts if part)}.", _run_daily(today))


def _run_daily(today: Today) -> str:
    return "prometheus run-daily" + ("" if today.chosen is None else f" --as-of {today.chosen}")


def _under_way(today: Today) -> Iterator[NextStep]:
    """Report what only time changes: workers at work, and failures that are tried again by themselves."""
    again = "prometheus today" + ("" if today.chosen is None else f" --as-of {today.chosen}")
    worked_on = _of(today, Wait.WORKED_ON)
    if worked_on:
        yield NextStep(f"A worker has {_runs(len(worked_on))} at the moment. Look again in a minute:", again)
    retried = [note for note in _of(today, Wait.RETRY) if note.due_at is not None]
    if retried:
        due = min(note.due_at for note in retried if note.due_at is not None)
        told = f"{_runs(len(retried))} failed and wait for another attempt, first {_told(retried[0])}"
        yield NextStep(f"{told} After {due:%H:%M} UTC:", _run_daily(today))


def _undelivered(today: Today) -> Iterator[NextStep]:
    outbox = today.outbox
    why = "" if outbox.error is None else f" The oldest says: {outbox.error}"
    if outbox.given_up:
        yield NextStep(
            f"{outbox.given_up} message(s) were given up and reached nobody.{why} Once the receiver is repaired:",
            'prometheus engine outbox --retry --reason "WHY"',
        )
    if outbox.late:
        yield NextStep(
            f"{outbox.late} message(s) reached nobody yet.{why} The next tick tries again:",
            "run_engine_state --advance-all",
        )


def _done(today: Today) -> NextStep:
    persisted = sum(region.persisted for region in today.regions)
    days = sorted({region.as_of for region in today.regions if region.session})
    left = [
        _left(sum(len(region.non_optimal) for region in today.regions), "of them NON_OPTIMAL, which trade nothing"),
        _left(sum(len(region.paused) for region in today.regions), "paused"),
        _left(sum(len(region.failed) for region in today.regions), "FAILED again after a reset"),
        _left(sum(len(region.ended) for region in today.regions), "cancelled or superseded"),
    ]
    told = "".join(f", {part}" for part in left if part)
    hopeless = [note for region in today.regions for note in region.failed]
    if hopeless:
        return NextStep(
            f"{_runs(persisted)} PERSISTED{told}. A reset did not help {hopeless[0].account_id}: "
            f"{hopeless[0].message} Its day stays untraded; the runbook says whom to ask.",
        )
    return NextStep(f"Nothing to do: {_runs(persisted)} of {_days(days)} PERSISTED{told}.", done=True)


def _left(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


def _days(days: list[date]) -> str:
    return " and ".join(day.isoformat() for day in days) or "no session"


def _runs(count: int) -> str:
    return f"{count} {'run' if count == 1 else 'runs'}"


def _told(note: RunNote) -> str:
    code = "" if note.code is None else f"{note.code}: "
    message = note.message or "no reason is known"
    return f"{note.account_id} of {note.as_of}: {code}{message}{'' if message.endswith(('.', '!', '?')) else '.'}"


def _of(today: Today, wait: Wait) -> list[RunNote]:
    """Return the unfinished runs that wait for one reason, those of earlier days first."""
    of_the_day = (note for region in today.regions for note in (*region.held, *region.retried, *region.in_work))
    return [note for note in (*today.earlier, *of_the_day) if note.wait is wait]
