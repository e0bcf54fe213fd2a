"""``prometheus verify-audit``: find the first altered record."""

import json
import re
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from prometheus.foundation.canonical import JsonObject
from prometheus.scripts.boundary import Command, format_option
from prometheus.scripts.tables import say

if TYPE_CHECKING:
    from prometheus.audit.verification import AuditReport
    from prometheus.db.database import Database


@click.command("verify-audit", cls=Command)
@click.option("--account", "account_id", help="Only this account's chain.")
@click.option("--anchor", "published", multiple=True, metavar="DATE=DIGEST", help="A digest kept elsewhere.")
@click.option(
    "--anchors",
    "delivered",
    type=click.Path(exists=True, path_type=Path),
    help="File or directory to which the outbox delivered the daily anchors.",
)
@format_option("text", "json", default="text")
def command(
    account_id: str | None, published: tuple[str, ...], delivered: Path | None, output: Literal["text", "json"]
) -> None:
    """Check that no run, trade, matrix, archive or anchor was altered, removed or moved.

    Of each account's chain the first broken record is named. Give the digests that 'prometheus audit anchor' printed
    and that were kept outside the database: somebody with every right inside it cannot change them. With --anchors all
    those that the outbox delivered (PROMETHEUS_ALERT_FILE, PROMETHEUS_ALERT_DIRECTORY) are compared.

    Exit codes: 0 nothing was altered, 1 something was, 2 no such account, or no anchor in the file.

    \b
    Examples:
      prometheus verify-audit --anchor 2018-06-29=6f3c...
      prometheus verify-audit --anchors /mnt/worm/prometheus.jsonl
    """
    from prometheus.audit.delivered_anchors import read_delivered_anchors
    from prometheus.bootstrap.settings import load_settings
    from prometheus.bootstrap.wiring import open_database

    anchors = tuple(_anchor(text) for text in published)
    if delivered is not None:
        delivered_anchors = read_delivered_anchors(delivered)
        anchors += delivered_anchors.anchors
        for where in delivered_anchors.unreadable:
            say(f"{where} is not a message and was skipped.", err=True)
    with open_database(load_settings()) as database:
        report = _verify(database, account_id, anchors)
    if output == "json":
        click.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print_report(report)
    if report.findings:
        sys.exit(1)


def verify_and_report(database: "Database") -> bool:
    """Check every record, print the findings, and return True where nothing was altered."""
    report = _verify(database, None, ())
    _print_report(report)
    return not report.findings


def _verify(database: "Database", account_id: str | None, anchors: tuple[tuple[date, str], ...]) -> "AuditReport":
    from prometheus.audit.verification import verify_audit
    from prometheus.scripts.progress import counting

    with counting("checking runs") as count:
        return verify_audit(database, account_id=account_id, published=anchors, on_run=lambda: count(1))


def _anchor(text: str) -> tuple[date, str]:
    day, _, digest = text.partition("=")
    try:
        as_of = date.fromisoformat(day)
    except ValueError:
        raise click.BadParameter(f"'{text}' does not begin with a date; write 2018-06-29=DIGEST.") from None
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest) is None:
        raise click.BadParameter(f"'{digest}' is not a digest of 64 hexadecimal digits.")
    return as_of, digest


def _print_report(report: "AuditReport") -> None:
    for finding in report.findings:
        say(f"{finding.kind.value}: {finding.where}: {finding.message}", err=True)
    from prometheus.decision.code_version import told_apart

    for code, runs in sorted(report.codes.items()):
        other = told_apart(code)
        if other is not None:
            say(f"{runs} runs: {other}. They replay exactly under the code that decided.", err=True)
    archived = f" ({report.archived} archived: hashes only)" if report.archived else ""
    verdict = f"{len(report.findings)} findings" if report.findings else "nothing altered"
    say(
        f"{report.accounts} chains, {report.runs} runs{archived}, {report.blobs} matrices, {report.anchors} anchors: "
        f"{verdict}"
    )


def _as_json(report: "AuditReport") -> JsonObject:
    return {
        "accounts": report.accounts,
        "runs": report.runs,
        "archived": report.archived,
        "blobs": report.blobs,
        "anchors": report.anchors,
        "codes": dict(sorted(report.codes.items())),
        "findings": [
            {"kind": one.kind.value, "account": one.account_id, "run_seq": one.run_seq, "message": one.message}
            for one in report.findings
        ],
    }
