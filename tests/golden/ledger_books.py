"""Recorded histories of households and the books they gave: written by this program, compared by a test.

    python -m tests.golden.ledger_books   draws histories at random and writes all of tests/golden/ledger anew

A recorded history is written anew only where somebody decided that its books change, with the reason in the commit.
"""

import json
import sys
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from prometheus.domain.accounts import AccountKind, LotMethod, TaxRates, TaxRegime
from prometheus.domain.money import plain_text
from prometheus.ledger.event_json import event_document, event_of
from prometheus.ledger.fold import fold
from prometheus.ledger.postings import DISALLOWANCES, PostingKind
from prometheus.ledger.terms import AccountTerms, Terms
from prometheus.ledger.tie_rules import DEFAULT_TIES, SameDayLosses, SameDayTrades, Tacking, WashScope

FOLDER = Path(__file__).parent / "ledger"
_RATES = TaxRates(Decimal("0.37"), Decimal("0.2"))
_TWINS = {"XX": "TWINS", "XY": "TWINS"}


def _us(method, **ties: object):
    return Terms(
        accounts={
            "A": AccountTerms(method=method, rates=_RATES),
            "B": AccountTerms(method=method, is_fractional=False),
            "IRA": AccountTerms(method=method, kind=AccountKind.SHELTERED),
        },
        groups=_TWINS,
        ties=replace(DEFAULT_TIES, **ties),
    )


def _canada(spouse, **ties: object):
    return Terms(
        regime=TaxRegime.CA,
        accounts={
            "A": AccountTerms(taxpayer="me"),
            "B": AccountTerms(taxpayer=spouse, is_fractional=False),
            "IRA": AccountTerms(taxpayer="me", kind=AccountKind.SHELTERED),
        },
        groups=_TWINS,
        ties=replace(DEFAULT_TIES, **ties),
    )


TERMS = {
    "us-fifo": _us(LotMethod.FIFO),
    "us-hifo": _us(LotMethod.HIFO, same_day_losses=SameDayLosses.BY_EXECUTION),
    "us-least-tax": _us(LotMethod.LEAST_TAX_FIRST, tacking=Tacking.ACQUISITION_DATE),
    "us-purchases-first": _us(LotMethod.FIFO, same_day_trades=SameDayTrades.PURCHASES_FIRST),
    "us-1099b": _us(LotMethod.FIFO, scope=WashScope.FORM_1099B),
    "ca-one": _canada("me"),
    "ca-spouses": _canada("spouse"),
    "ca-spouses-purchases-first": _canada("spouse", same_day_trades=SameDayTrades.PURCHASES_FIRST),
}
#: Histories recorded under each terms, of so many drawn.
KEPT, DRAWN = 24, 300


def told(value):
    """Return a value as text; of a dataclass the fields that say anything."""
    if isinstance(value, Decimal):
        return plain_text(value)
    if is_dataclass(value):
        said = ((field.name, getattr(value, field.name), field.default) for field in fields(value))
        return " ".join(f"{name}={told(own)}" for name, own, default in said if own != default)
    if isinstance(value, tuple):
        return "/".join(told(each) for each in value)
    return str(value)


def books(events, terms):
    """Return the rows and remarks that events give, as texts."""
    folded = fold(events, terms)
    return [told(row) for row in folded.postings], [told(finding) for finding in folded.findings]


def recorded(name):
    """Return the recorded histories under terms: events, rows and remarks."""
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        document = json.loads(line)
        yield [event_of(each) for each in document["events"]], document["rows"], document["findings"]


def _draw(number, terms):
    """Return random histories, those first that meet the most rules."""
    from tests.property.ledger_histories import histories

    drawn = []

    @seed(number)
    @settings(
        max_examples=DRAWN,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(histories(most=10))
    def collect(events):
        drawn.append(events)

    collect()
    kept, seen = [], set()
    while len(kept) < KEPT and drawn:
        best = max(drawn, key=lambda events: len(_met(events, terms) - seen) * 100 - len(events))
        drawn.remove(best)
        kept.append(best)
        seen |= _met(best, terms)
    return kept


def _met(events, terms):
    """Return what a history meets: kinds of rows and of remarks by the event behind them, and kinds of losses."""
    folded = fold(events, terms)
    kinds = {event.key: type(event).__name__ for event in events}
    met = {(row.kind.value, kinds.get(row.event, "")) for row in folded.postings}
    met |= {(finding.code, kinds.get(finding.event, "")) for finding in folded.findings}
    losses = [row for row in folded.postings if row.kind in DISALLOWANCES]
    met |= {("loss", row.loss.is_permanent, row.term.value, len(losses) > 1) for row in losses if row.loss}
    final = sum(row.kind is PostingKind.LOSS_FINAL for row in folded.postings)
    return met | {("final", min(final, 3))}


def main():
    """Write every file anew."""
    FOLDER.mkdir(exist_ok=True)
    for number, (name, terms) in enumerate(TERMS.items()):
        lines = []
        for events in _draw(number, terms):
            rows, findings = books(events, terms)
            document = {"events": [event_document(each) for each in events], "rows": rows, "findings": findings}
            lines.append(json.dumps(document, ensure_ascii=False))
        (FOLDER / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}: {len(lines)} histories\n")


if __name__ == "__main__":
    main()
