"""Canada's Schedule 3: dispositions by section, denied losses and where they went, and net capital losses.

Source: Schedule 3 (5000-S3), CRA guide T4037, Income Tax Act ss. 3(b), 38, 40(2)(g)(i), 53(1)(f), 54, 111(1)(b).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from prometheus.domain.lots import Term
from prometheus.domain.money import to_cents
from prometheus.ledger.keys import LotKey
from prometheus.ledger.postings import Posting, PostingKind
from prometheus.ledger.reports.amounts import CARRY_BACK_YEARS, inclusion_rate, money_text, total
from prometheus.ledger.reports.dispositions import effective_postings
from prometheus.ledger.reports.lines import DispositionLine, natural_order
from prometheus.ledger.reports.returns import Return
from prometheus.ledger.terms import AssetClass, Terms

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class DeniedLoss:
    """A part of a superficial loss, and where it went.

    Attributes:
        amount: Positive cents.
        shares: Shares whose loss this is.
        account: Account of the replacement shares; empty where there are none.
        pool_of: Taxpayer whose pool carries the loss; None where it is denied for good.
        is_permanent: Whether no pool carries it.
    """

    amount: Decimal
    shares: Decimal
    account: str
    pool_of: str | None
    is_permanent: bool

    def __str__(self) -> str:
        if self.is_permanent:
            return f"{money_text(self.amount)} denied for good" + (
                f" ({self.account} holds the shares)" if self.account else ""
            )
        return f"{money_text(self.amount)} added to the pool of {self.pool_of or 'the taxpayer'}"


@dataclass(frozen=True, slots=True)
class Schedule3Line:
    """One line of Schedule 3. ``gain`` is ``proceeds`` less ``adjusted_cost_base`` less ``outlays`` plus denied loss.

    Attributes:
        key: The lot that was disposed of.
        is_crypto_asset: Whether it belongs to the section of bonds and crypto-assets instead of that of shares.
        account: Whose sale it was.
        number: Shares, the first column.
        name: The security.
        year_of_acquisition: Column 1.
        sold_on: Trade date.
        settled_on: Day whose calendar year taxes the gain: settlement.
        proceeds: Column 2, before commission.
        adjusted_cost_base: Column 3.
        outlays: Column 4, the commission.
        denied_loss: Superficial loss, positive.
        gain: Column 5, without what is denied.
        denied: Where the denied loss went.
        provisional_until: Last day on which a purchase can still change the line; None where none can.
    """

    key: LotKey
    is_crypto_asset: bool
    account: str
    number: Decimal
    name: str
    year_of_acquisition: int
    sold_on: date
    settled_on: date
    proceeds: Decimal
    adjusted_cost_base: Decimal
    outlays: Decimal
    denied_loss: Decimal
    gain: Decimal
    denied: tuple[DeniedLoss, ...]
    provisional_until: date | None


@dataclass(frozen=True, slots=True)
class Schedule3:
    """Schedule 3 of one person and year. CAD, losses negative.

    Attributes:
        return_name: The return.
        year: The tax year.
        lines: Lines by section, sale, name and acquisition.
        line_13199: Proceeds of publicly traded shares and fund units.
        line_13200: Their gains less losses.
        line_15199: Proceeds of crypto-assets.
        line_15300: Their gains less losses.
        line_17400: Capital gains dividends (T5 box 18).
        gain: All gains less losses of the year.
        inclusion_rate: The taxable part at the end of the year, as a fraction; each line has that of its day.
        line_12700: Taxable capital gains, not negative.
        net_capital_loss: What is left of allowable losses, positive.
        income_lines: Short sales on income account, laid out as the others; they are in no other amount.
        income_shorts: Their gains less losses, which are income in full, not capital.
    """

    return_name: str
    year: int
    lines: tuple[Schedule3Line, ...]
    line_13199: Decimal
    line_13200: Decimal
    line_15199: Decimal
    line_15300: Decimal
    line_17400: Decimal
    gain: Decimal
    inclusion_rate: Decimal
    line_12700: Decimal
    net_capital_loss: Decimal
    income_lines: tuple[Schedule3Line, ...]
    income_shorts: Decimal


@dataclass(frozen=True, slots=True)
class LossUse:
    """A net capital loss of one year claimed in another: line 25300 where that is later, Form T1A where earlier."""

    loss_year: int
    used_in: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class NetCapitalLosses:
    """Net capital losses over the years, after the inclusion rate. CAD, positive.

    Attributes:
        uses: What is claimed where, by the year of the claim and the year of the loss.
        can_go_back: Loss year to what could still be claimed in each of the three years before, by year.
        balances: Loss year to what is left for later years; years without a balance are not listed.
    """

    uses: tuple[LossUse, ...]
    can_go_back: Mapping[int, Mapping[int, Decimal]]
    balances: Mapping[int, Decimal]


def schedule_3_line(line: DispositionLine) -> Schedule3Line:
    """Lay one Canadian disposition out as Schedule 3 does.

    Source: Schedule 3, columns 1 to 5; ITA s. 40(2)(g)(i) for the denied loss.
    """
    return Schedule3Line(
        key=line.key.lot,
        is_crypto_asset=line.asset_class is AssetClass.DIGITAL_ASSET,
        account=line.account,
        number=line.quantity,
        name=line.description,
        year_of_acquisition=line.acquired_on.year,
        sold_on=line.sold_on,
        settled_on=line.tax_date,
        proceeds=line.proceeds + line.fee,
        adjusted_cost_base=line.basis,
        outlays=line.fee,
        denied_loss=line.disallowed_loss,
        gain=line.gain,
        denied=tuple(
            DeniedLoss(
                amount=each.amount,
                shares=each.shares,
                account=each.account,
                pool_of=None if each.is_permanent else each.taxpayer,
                is_permanent=each.is_permanent,
            )
            for each in line.replacements
        ),
        provisional_until=line.provisional_until,
    )


def capital_gains_dividends(postings: Iterable[Posting], terms: Terms) -> Mapping[tuple[str, int], Decimal]:
    """Return the capital gains dividends of taxable accounts, CAD, by taxpayer and year of payment.

    Source: Schedule 3 line 17400 (T5 box 18); ITA s. 131(1).
    """
    sums: dict[tuple[str, int], Decimal] = {}
    for row in effective_postings(postings):
        if row.kind is PostingKind.CAPITAL_GAINS_DIVIDEND and not terms.is_sheltered(row.account):
            key = (terms.taxpayer_of(row.account), (row.tax_date or row.settle_date or row.day).year)
            sums[key] = sums.get(key, _ZERO) + row.cash
    return sums


def schedules_3(
    filing: Return,
    lines: Iterable[DispositionLine],
    dividends: Mapping[tuple[str, int], Decimal],
    years: Iterable[int],
    terms: Terms,
) -> tuple[Schedule3, ...]:
    """Fill in Schedule 3 year by year.

    Args:
        filing: Whose return it is.
        lines: Dispositions of the person, of all years; those with a US term are passed over.
        dividends: As ``capital_gains_dividends`` returns them.
        years: Tax years.
        terms: Under what terms they were booked; they say whose short sales are on capital account.

    Raises:
        ConfigurationError: No inclusion rate is recorded for a day.

    Source: Schedule 3 lines 13199, 13200, 15199, 15300, 17400; line 12700; CRA 2012-0468931C6 (year of settlement);
    ITA s. 39(4) and IT-479R par. 18 (short sales).
    """
    by_year: dict[int, list[DispositionLine]] = {}
    for line in lines:
        if line.term is Term.NONE:
            by_year.setdefault(line.year, []).append(line)
    schedules = []
    for year in years:
        of_year = by_year.get(year, [])
        income = [line for line in of_year if _is_income(line, terms)]
        capital = [line for line in of_year if not _is_income(line, terms)]
        paid = total(dividends.get((taxpayer, year), _ZERO) for taxpayer in filing.taxpayers)
        schedules.append(_schedule(filing.name, year, capital, paid, income))
    return tuple(schedules)


def _is_income(line: DispositionLine, terms: Terms) -> bool:
    is_short = line.key.kind is PostingKind.COVER_SHORT
    return is_short and not terms.is_capital_short(line.taxpayer, line.ticker, line.year)


def _schedule(
    name: str, year: int, lines: Sequence[DispositionLine], dividends: Decimal, income: Sequence[DispositionLine]
) -> Schedule3:
    rows = sorted((schedule_3_line(line) for line in lines), key=_row_order)
    shares = [row for row in rows if not row.is_crypto_asset]
    crypto = [row for row in rows if row.is_crypto_asset]
    gain = total(row.gain for row in rows) + dividends
    rate = inclusion_rate(date(year, 12, 31))
    taxable = to_cents(dividends * rate + total(row.gain * inclusion_rate(row.settled_on) for row in rows))
    return Schedule3(
        return_name=name,
        year=year,
        lines=tuple(rows),
        line_13199=total(row.proceeds for row in shares),
        line_13200=total(row.gain for row in shares),
        line_15199=total(row.proceeds for row in crypto),
        line_15300=total(row.gain for row in crypto),
        line_17400=dividends,
        gain=gain,
        inclusion_rate=rate,
        line_12700=max(taxable, _ZERO),
        net_capital_loss=max(-taxable, _ZERO),
        income_lines=tuple(sorted((schedule_3_line(line) for line in income), key=_row_order)),
        income_shorts=total(line.gain for line in income),
    )


def _row_order(row: Schedule3Line) -> tuple[object, ...]:
    return (
        row.is_crypto_asset,
        row.sold_on,
        natural_order(row.name),
        row.year_of_acquisition,
        natural_order(row.account),
        natural_order(row.key.lot_id),
    )


def net_capital_losses(
    schedules: Sequence[Schedule3], earlier: Mapping[int, Decimal], *, carries_back: bool
) -> NetCapitalLosses:
    """Claim net capital losses against taxable gains of other years.

    A loss is claimed as far and as early as it can be, the oldest loss first; a person may claim less. With
    ``carries_back`` it goes to the three years before first, the earliest of them first.

    Args:
        schedules: Schedule 3 of consecutive years, in order.
        earlier: Net capital losses of years before them, by the year of the loss, positive.
        carries_back: Whether losses go back.

    Source: ITA s. 111(1)(b), 111(8) "net capital loss"; line 25300; Form T1A.
    """
    left = {each.year: each.line_12700 for each in schedules}
    balances = {year: amount for year, amount in sorted(earlier.items()) if amount}
    can_go_back: dict[int, dict[int, Decimal]] = {}
    uses: list[LossUse] = []

    def claim(loss_year: int, used_in: int) -> None:
        amount = min(balances[loss_year], left[used_in])
        if amount > 0:
            balances[loss_year] -= amount
            left[used_in] -= amount
            uses.append(LossUse(loss_year, used_in, amount))

    for each in schedules:
        for loss_year in sorted(balances):
            claim(loss_year, each.year)
        if not each.net_capital_loss:
            continue
        balances[each.year] = each.net_capital_loss
        before = [year for year in range(each.year - CARRY_BACK_YEARS, each.year) if left.get(year)]
        can_go_back[each.year] = {year: min(left[year], each.net_capital_loss) for year in before}
        if carries_back:
            for year in before:
                claim(each.year, year)
    return NetCapitalLosses(
        uses=tuple(sorted(uses, key=lambda use: (use.used_in, use.loss_year))),
        can_go_back=can_go_back,
        balances={year: amount for year, amount in balances.items() if amount},
    )
