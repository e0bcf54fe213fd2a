"""A problem file as the engine's own values: snapshot, strategy parameters and matrices."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np

from prometheus.decision.day_books import pool_lots
from prometheus.decision.locks import day_locks
from prometheus.decision.partial_day import DayProblem, problem_of_day
from prometheus.decision.problem_file.defects import Defect, refuse
from prometheus.decision.problem_file.document import exact, parse_document
from prometheus.decision.problem_file.schema import PROBLEM_SCHEMA, schema_defects
from prometheus.decision.problem_file.sense import ANONYMOUS, plain_number, sense_defects
from prometheus.decision.problem_from_snapshot import CorrelationBlock, Matrices, build_problem
from prometheus.decision.snapshot import Flag, Snapshot, UniverseName
from prometheus.decision.wash_locks import is_in_window
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.books import Books
from prometheus.domain.lots import RecentTrade, ShortPosition, Side, TaxLot
from prometheus.domain.rebalancing import kind_of_day
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import InvalidProblemError
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.optimizer.problem.rebalance_problem import RebalanceProblem, read_only

#: Written where a run has its strategy and its benchmark.
_FROM_FILE: Final = "problem-file"
#: Weights of a benchmark that add up to one but for rounding need no remark.
_ROUNDED_WEIGHTS: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A problem file in the engine's own values.

    Attributes:
        name: Name of the file.
        sha256: Of its bytes, hexadecimal.
        snapshot: The frozen inputs, assets in the order of tickers; its flags are remarks about the file.
        params: Strategy parameters.
        matrices: Loadings, specific variances and benchmark weights in the order of the snapshot's assets.
        cost_rates: One-way cost, fraction of the traded value, of the assets that have one of their own.
        previous_targets: Target weights of the run before, where the file has them.
    """

    name: str
    sha256: str
    snapshot: Snapshot
    params: StrategyParams
    matrices: Matrices
    cost_rates: Mapping[str, Decimal]
    previous_targets: Mapping[str, float] | None

    def day_problem(self) -> DayProblem:
        """Return what the day asks the optimizer: on a partial day, what of the whole problem may trade."""
        return problem_of_day(self.optimizer_problem(), self.snapshot)

    def optimizer_problem(self) -> RebalanceProblem:
        """Return the optimizer's problem of a whole rebalancing."""
        problem = build_problem(self.snapshot, self.params, self.matrices)
        if not self.cost_rates:
            return problem
        rates = [float(self.cost_rates.get(ticker, problem.cost_rate[i])) for i, ticker in enumerate(problem.tickers)]
        return replace(problem, cost_rate=read_only(rates))


def read_problem(raw: bytes, name: str) -> FileProblem:
    """Read a problem file.

    Args:
        raw: Its content.
        name: Its name, for messages.

    Raises:
        FileRefusedError: What is wrong, by JSON path, at most 50 defects.

    Source: docs/specs/problem_file.md.
    """
    document = parse_document(raw, name)
    refuse(name, schema_defects(document, PROBLEM_SCHEMA))
    refuse(name, sense_defects(document))
    params = StrategyParams.from_dict(plain_number(document.get("params", {})))
    assets = sorted(document["assets"], key=lambda asset: str(asset["ticker"]))
    problem = FileProblem(
        name=name,
        sha256=hashlib.sha256(raw).hexdigest(),
        snapshot=_snapshot(document, assets, params),
        params=params,
        matrices=_matrices(assets, document.get("specific_correlation_blocks", ())),
        cost_rates={asset["ticker"]: exact(asset["cost"]) for asset in assets if "cost" in asset},
        previous_targets=plain_number(document.get("previous_targets")),
    )
    try:
        problem.day_problem()
    except InvalidProblemError as error:
        refuse(name, [Defect("$", None, error.message)])
    return problem


def _snapshot(document: Mapping[str, Any], assets: list[Mapping[str, Any]], params: StrategyParams) -> Snapshot:
    as_of = date.fromisoformat(document["as_of"])
    regime, method = TaxRegime(document["tax_regime"]), LotMethod(document["lot_method"])
    universe = tuple(_name(asset, i, as_of) for i, asset in enumerate(assets))
    # Books put lots into the order in which every account of the engine has them.
    lots = Books(tuple(_lot(row) for row in document["lots"])).lots
    trades = tuple(_trade(row) for row in document["recent_trades"])
    if method is LotMethod.ACB:
        # a pool dates from its earliest purchase: the later ones must be known before the lots are pooled
        trades = (*trades, *_purchases_in_pools(lots, trades, as_of))
        lots = pool_lots(lots)
    sheltered = document.get("sheltered", False)
    locks = day_locks(
        universe,
        () if sheltered else lots,
        trades,
        as_of=as_of,
        regime=regime,
        group_outside={row["ticker"]: row["group"] for row in document["recent_trades"] if "group" in row},
    )
    rates, last_whole = document["tax_rates"], _day(document, "last_whole")
    return Snapshot(
        account_id=document.get("account_id", ANONYMOUS),
        as_of=as_of,
        base_currency=document["base_currency"],
        tax_regime=regime,
        lot_method=method,
        fractional_shares=document["fractional_shares"],
        sheltered=sheltered,
        tags=(),
        strategy_id=_FROM_FILE,
        strategy_version=0,
        rates=TaxRates(st=exact(rates["st"]), lt=exact(rates["lt"]), niit=exact(rates.get("niit", 0))),
        cash=exact(document["cash"]),
        benchmark_id=_FROM_FILE,
        benchmark_effective_date=as_of,
        benchmark_weights_sha256="",
        risk_model_id=0,
        risk_model_as_of=as_of,
        loadings_sha256="",
        specific_variance_sha256="",
        factor_covariance=tuple(tuple(float(x) for x in row) for row in document["factor_covariance"]),
        universe=universe,
        lots=lots,
        recent_trades=trades,
        buy_locks=locks.buy,
        loss_sale_locks=locks.loss_sale,
        borrow_rates={asset["ticker"]: exact(asset["borrow_rate"]) for asset in assets if "borrow_rate" in asset},
        corporate_actions=(),
        flags=_remarks(document, universe, params),
        realized_this_year=exact(document.get("realized_this_year", 0)),
        rebalancing=kind_of_day(params.rebalance, last_whole, as_of),
        last_whole=last_whole,
        shorts=Books(shorts=tuple(_shorts(document.get("shorts", ())))).shorts,
    )


def _name(asset: Mapping[str, Any], position: int, as_of: date) -> UniverseName:
    return UniverseName(
        ticker=asset["ticker"],
        price=exact(asset["price"]),
        price_date=date.fromisoformat(asset["price_date"]) if "price_date" in asset else as_of,
        sector=asset["sector"],
        sub_industry=asset.get("sub_industry", ""),
        group=asset.get("group", asset["ticker"]),
        benchmark_index=position,
        risk_index=position,
    )


def _lot(row: Mapping[str, Any]) -> TaxLot:
    acquired_on = date.fromisoformat(row["acquired_on"])
    return TaxLot(
        lot_id=row["lot_id"],
        ticker=row["ticker"],
        acquired_on=acquired_on,
        quantity=exact(row["quantity"]),
        cost_basis=exact(row.get("cost_basis", row["adjusted_basis"])),
        adjusted_basis=exact(row["adjusted_basis"]),
        holding_period_start=_day(row, "holding_period_start") or acquired_on,
    )


def _shorts(rows: Iterable[Any]) -> Iterator[ShortPosition]:
    for row in rows:
        yield ShortPosition(
            lot_id=row["lot_id"],
            ticker=row["ticker"],
            sold_on=date.fromisoformat(row["sold_on"]),
            quantity=exact(row["quantity"]),
            proceeds=exact(row["proceeds"]),
            was_held=row.get("was_held", False),
            was_held_long=row.get("was_held_long", False),
        )


def _trade(row: Mapping[str, Any]) -> RecentTrade:
    side, quantity = Side(row["side"]), exact(row["quantity"])
    elsewhere = side is Side.BUY and "account" in row
    unreplaced = exact(row["unreplaced"]) if "unreplaced" in row else None
    return RecentTrade(
        ticker=row["ticker"],
        trade_date=date.fromisoformat(row["date"]),
        side=side,
        quantity=quantity,
        realized_gain=exact(row.get("realized_gain", 0)),
        # no lot of this account is called so
        lot_id=None if elsewhere else row.get("lot_id"),
        unreplaced=quantity if elsewhere and unreplaced is None else unreplaced,
        washed_quantity=exact(row.get("washed_quantity", 0)),
        disallowed_loss=exact(row.get("disallowed_loss", 0)),
        acquired_on=_day(row, "acquired_on"),
        holding_period_start=_day(row, "holding_period_start"),
        execution_id=row.get("execution_id"),
        account=row.get("account", ""),
        denied_for_good=exact(row.get("denied_for_good", 0)),
    )


def _purchases_in_pools(
    lots: tuple[TaxLot, ...], trades: tuple[RecentTrade, ...], as_of: date
) -> Iterator[RecentTrade]:
    """Return the purchases of the last 30 days that Canadian lots prove by their date and no trade states.

    A lot that is a pool already proves its own purchase, or none where a trade states one (``known_purchases``).
    """
    stated = {(trade.ticker, trade.trade_date) for trade in trades if trade.side is Side.BUY and not trade.account}
    for lot in lots:
        recent = is_in_window(lot.acquired_on, as_of)
        if recent and lot.lot_id != pool_lot_id(lot.ticker) and (lot.ticker, lot.acquired_on) not in stated:
            yield RecentTrade(
                ticker=lot.ticker,
                trade_date=lot.acquired_on,
                side=Side.BUY,
                quantity=lot.quantity,
                lot_id=lot.lot_id,
                unreplaced=lot.quantity,
            )


def _day(row: Mapping[str, Any], name: str) -> date | None:
    return date.fromisoformat(row[name]) if name in row else None


def _matrices(assets: list[Mapping[str, Any]], blocks: Iterable[Mapping[str, Any]]) -> Matrices:
    position = {asset["ticker"]: i for i, asset in enumerate(assets)}
    return Matrices(
        loadings=np.array([[float(x) for x in asset["loadings"]] for asset in assets]),
        specific_variance=np.array([float(asset["specific_variance"]) for asset in assets]),
        benchmark_weights=np.array([float(asset["benchmark_weight"]) for asset in assets]),
        specific_correlation=tuple(_block(block, position) for block in blocks),
    )


def _block(block: Mapping[str, Any], position: Mapping[str, int]) -> CorrelationBlock:
    names = np.array([position[ticker] for ticker in block["tickers"]], dtype=np.int64)
    by = np.argsort(names)
    matrix = np.array([[float(x) for x in row] for row in block["matrix"]])
    return CorrelationBlock(names[by], matrix[np.ix_(by, by)])


def _remarks(
    document: Mapping[str, Any], universe: tuple[UniverseName, ...], params: StrategyParams
) -> tuple[Flag, ...]:
    """Return what is no defect but may be an oversight."""
    remarks = []
    total = sum((exact(asset["benchmark_weight"]) for asset in document["assets"]), Decimal(0))
    if abs(total - 1) > _ROUNDED_WEIGHTS:
        remarks.append(
            Flag("BENCHMARK_SCALED", f"The benchmark weights add up to {total:.6f}; they are scaled to one.")
        )
    known, industries = {name.ticker for name in universe}, {name.sub_industry for name in universe}
    for parameter, named, there in (
        ("no_buy", params.no_buy, known),
        ("no_sell", params.no_sell, known),
        ("never_hold", params.never_hold, known),
        ("never_hold_sub_industries", params.never_hold_sub_industries, industries),
    ):
        remarks += [
            Flag("NO_SUCH_NAME", f"params.{parameter} names '{name}', which no asset is; it has no effect.")
            for name in named
            if name not in there
        ]
    remarks += [
        Flag(
            "LOT_ELSEWHERE",
            f"recent_trades[{i}] is a purchase of account '{trade['account']}' and gives lot '{trade['lot_id']}'; that "
            "is no lot of this account and has no effect.",
        )
        for i, trade in enumerate(document["recent_trades"])
        if trade["side"] == Side.BUY and "account" in trade and "lot_id" in trade
    ]
    return tuple(remarks)
