"""``prometheus optimize``: a problem file in, certified trades out; no engine, no database."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import click

from prometheus.scripts.boundary import Command, format_option

_BPS: Final = 1e4
#: Most locks of a kind that are shown; the result file has them all.
_LOCKS_SHOWN: Final = 10


@click.command("optimize", cls=Command)
@click.argument("problem", type=click.Path(allow_dash=True))
@click.option("--solver", help="CLARABEL, CVXPY, CUOPT or STRUCTURED; the file's own params.solver where absent.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the result to this file, as JSON.")
@format_option("table", "json", default="table")
def command(problem: str, solver: str | None, out: str | None, output: Literal["table", "json"]) -> None:
    """Solve a problem file with the engine's own optimizer and ledger: trades by lot, with proof.

    PROBLEM is a file as docs/specs/problem_file.md describes it, or - for standard input.

    \b
    Examples:
      prometheus optimize examples/problem_small.json
      prometheus runs export ACC-001 RUN-001 | prometheus optimize - --format json

    Exit codes: 0 OPTIMAL, 1 NON_OPTIMAL (the result says why), 2 the file is not a problem that can be solved.
    """
    from prometheus.decision.problem_file.answer import answer_problem
    from prometheus.decision.problem_file.reading import read_problem
    from prometheus.domain.phases import RunStatus

    file_problem = read_problem(_content(problem), problem)
    answer = answer_problem(file_problem, solver=None if solver is None else solver.upper())
    text = json.dumps(answer.document, indent=2, ensure_ascii=False)
    if out is not None:
        write_text(out, text + "\n")
    if output == "json":
        click.echo(text)
    else:
        _print_answer(answer.document)
    if answer.status is not RunStatus.OPTIMAL:
        sys.exit(1)


def write_text(path: str, text: str) -> None:
    """Write a file.

    Raises:
        FileRefusedError: It cannot be written there.
    """
    from prometheus.foundation.errors import FileRefusedError

    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileRefusedError(f"{path} cannot be written: {error.strerror}. Choose another place.") from error


def _content(path: str) -> bytes:
    from prometheus.foundation.errors import FileRefusedError
    from prometheus.foundation.files import TooLargeError, read_at_most

    try:
        if path == "-":
            return read_at_most(sys.stdin.buffer)
        with Path(path).open("rb") as stream:
            return read_at_most(stream)
    except TooLargeError as error:
        raise FileRefusedError(f"{path} is no problem file: {error}.") from error
    except OSError as error:
        raise FileRefusedError(f"{path} cannot be read: {error.strerror}.") from error


def _print_answer(result: Mapping[str, Any]) -> None:
    from prometheus.decision.stored_result import explanations_from_rows
    from prometheus.scripts.explanations import print_explanations
    from prometheus.scripts.tables import print_facts, print_table

    print_facts(_facts(result))
    click.echo()
    if not result["trades"]:
        click.echo("No trades.")
        return
    header = ("no", "side", "ticker", "lot", "acquired", "quantity", "price", "amount", "basis", "gain", "term", "tax")
    keys = (
        "trade_no", "side", "ticker", "lot_id", "acquired_on", "quantity", "price", "amount", "basis", "realized_gain",
        "term", "tax",
    )  # fmt: skip
    print_table(
        header,
        [[trade[key] for key in keys] for trade in result["trades"]],
        right=("no", "quantity", "price", "amount", "basis", "gain", "tax"),
        optional=("no", "basis", "price", "acquired", "tax"),
        elsewhere="a wider terminal, a pipe and --format json have them",
    )
    print_explanations(explanations_from_rows(result["explanations"]))


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    problem, gains, locks, solver = result["problem"], result["realized_gains"], result["locks"], result["solver"]
    currency = problem["base_currency"]
    facts = [
        (
            "problem",
            f"{problem['account_id']} on {problem['as_of']}, {problem['assets']} assets, {problem['lots']} lots",
        ),
        ("status", result["status"]),
        ("net asset value", f"{problem['nav']} {currency}"),
        (
            "tracking error",
            f"{result['tracking_error_before']:.3%} before, {result['tracking_error_after']:.3%} after",
        ),
        ("turnover", f"{result['turnover']:.3%} of NAV, one way"),
        (
            "realised gains",
            (
                f"short-term {gains['short']}, long-term {gains['long']}, without term {gains['without_term']}, "
                f"disallowed {gains['disallowed_loss']}"
            ),
        ),
        ("tax", f"{result['tax']} {currency} (negative: losses that reduce other tax)"),
        ("cash after", f"{result['cash_after']} {currency}, estimated costs {result['cost']}"),
    ]
    if result["objective"] is not None:
        facts += [
            (
                "objective",
                ", ".join(f"{name.replace('_', ' ')} {_BPS * value:.4f}" for name, value in result["objective"].items())
                + " bps of NAV",
            ),
            (
                "proof",
                (
                    f"within {result['gap_bps']:.4f} bps of NAV of the best possible, "
                    f"{result['rounded_gap_bps']:.3f} after rounding to shares"
                ),
            ),
        ]
    facts.append(("solver", f"{solver['backend']} {solver['version']}, {solver['status']}".replace(" ,", ",")))
    facts += _locks("do not buy", "group", locks["buy"])
    facts += _locks("do not sell", "lot_id", locks["loss_sale"])
    facts += [("attempt failed", f"{failure['code']}: {failure['message']}") for failure in result["failures"]]
    facts += [("flag", f"{flag['code']}: {flag['message']}") for flag in result["flags"]]
    return facts


def _locks(name: str, subject: str, locks: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    facts = [(name, f"{lock[subject]} until {lock['until']}: {lock['cause']}") for lock in locks[:_LOCKS_SHOWN]]
    return facts + ([(name, f"and {len(locks) - _LOCKS_SHOWN} more")] if len(locks) > _LOCKS_SHOWN else [])
