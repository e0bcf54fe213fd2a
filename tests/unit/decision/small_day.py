"""One account's day of five names whose numbers can be checked by hand, for tests to change."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np

from prometheus.decision.problem_from_snapshot import Matrices, build_problem
from prometheus.decision.snapshot import LockRecord, Snapshot, UniverseName
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import TaxLot
from prometheus.domain.strategy import StrategyParams

AS_OF = date(2024, 6, 28)
PARAMS = StrategyParams(max_weight=0.5, max_active_weight=0.3, min_trade=0.0, cash_max=0.05)


def name(ticker, price, *, benchmark=-1, risk=-1, group=None, sub_industry="Oil", price_date=AS_OF):
    """Return a name of the universe."""
    return UniverseName(
        ticker=ticker,
        price=Decimal(price),
        price_date=price_date,
        sector="Energy",
        sub_industry=sub_industry,
        group=group or ticker,
        benchmark_index=benchmark,
        risk_index=risk,
    )


def lot(lot_id, ticker, quantity, basis, acquired_on=date(2022, 3, 1), **changes: object):
    """Return a lot with its whole basis in ``basis``."""
    found = TaxLot(
        lot_id=lot_id,
        ticker=ticker,
        acquired_on=acquired_on,
        quantity=Decimal(quantity),
        cost_basis=Decimal(basis),
        adjusted_basis=Decimal(basis),
        holding_period_start=acquired_on,
    )
    return replace(found, **changes)


def loss_lock(lot_id):
    """Return a lock of a lot whose loss would be washed."""
    return LockRecord(lot_id, date(2024, 7, 20), "bought 10 AAA on 2024-06-20")


def buy_lock(group):
    """Return a lock of a group that must not be bought."""
    return LockRecord(group, date(2024, 7, 20), "sold 10 at a loss")


#: NAV 100,000: AAA 40 x 500 = 20,000; BBB 20 x 1,500 = 30,000; CCC 10 x 3,000 = 30,000; cash 20,000.
SNAPSHOT = Snapshot(
    account_id="ACC-1",
    as_of=AS_OF,
    base_currency="USD",
    tax_regime=TaxRegime.US,
    lot_method=LotMethod.HIFO,
    fractional_shares=False,
    tags=(),
    strategy_id="tax-managed-index",
    strategy_version=1,
    rates=TaxRates(st=Decimal("0.37"), lt=Decimal("0.20"), niit=Decimal("0.038")),
    cash=Decimal("20000.00"),
    benchmark_id="BM",
    benchmark_effective_date=date(2024, 6, 3),
    benchmark_weights_sha256="00" * 32,
    risk_model_id=1,
    risk_model_as_of=AS_OF,
    loadings_sha256="11" * 32,
    specific_variance_sha256="22" * 32,
    factor_covariance=((0.04, 0.0), (0.0, 0.01)),
    universe=(
        name("AAA", "40", benchmark=0, risk=0),
        name("BBB", "20", benchmark=1, risk=1),
        name("CCC", "10", benchmark=2, risk=2, sub_industry="Coal"),
        name("DDD", "50", benchmark=3, risk=3),
        name("EEE", "25", benchmark=-1, risk=4),
    ),
    lots=(
        # per share 44 (loss 4), 30 (gain 10)
        lot("A1", "AAA", "200", "8800.00", date(2024, 3, 1)),
        lot("A2", "AAA", "300", "9000.00"),
        # per share 18 (gain 2)
        lot("B1", "BBB", "1500", "27000.00"),
        # per share 12 (loss 2)
        lot("C1", "CCC", "3000", "36000.00", date(2024, 2, 1)),
    ),
    recent_trades=(),
    buy_locks=(),
    loss_sale_locks=(),
    borrow_rates={},
    corporate_actions=(),
    flags=(),
)
MATRICES = Matrices(
    loadings=np.array([[1.0, 0.5], [1.0, -0.5], [1.0, 0.1], [1.0, 0.0], [1.0, 0.3]], dtype=np.float32),
    specific_variance=np.array([0.04, 0.05, 0.06, 0.07, 0.08], dtype=np.float32),
    benchmark_weights=np.array([0.25, 0.25, 0.25, 0.25]),
)


def problem_of(snapshot=SNAPSHOT, params=PARAMS, matrices=MATRICES, **changes: object):
    """Return the problem of a snapshot with some of its fields changed."""
    return build_problem(replace(snapshot, **changes), params, matrices)
