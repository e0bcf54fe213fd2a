"""A snapshot of four names, two of them one company, to be varied by the tests."""

from datetime import date
from decimal import Decimal

import numpy as np

from prometheus.decision.problem_from_snapshot import Matrices
from prometheus.decision.snapshot import Snapshot, UniverseName
from prometheus.domain.accounts import LotMethod, TaxRates, TaxRegime
from prometheus.domain.lots import TaxLot

AS_OF = date(2024, 6, 3)
LONG_AGO, LATELY = date(2020, 1, 2), date(2024, 3, 1)
PRICES = {"A": "50", "B": "100", "C": "20", "D": "20.5"}
MATRICES = Matrices(
    loadings=np.array([[0.2, 0.01], [0.15, -0.02], [0.1, 0.03], [0.1, 0.03]], dtype=np.float32),
    specific_variance=np.array([0.04, 0.03, 0.02, 0.09], dtype=np.float32),
    benchmark_weights=np.array([0.4, 0.4, 0.2]),
)


def lot(lot_id, ticker, quantity, basis, acquired_on=LONG_AGO):
    """Return a lot that no wash sale has touched."""
    return TaxLot(lot_id, ticker, acquired_on, Decimal(quantity), Decimal(basis), Decimal(basis), acquired_on)


def name(ticker, **changes: object):
    """Return a name of the universe; C and D are one company, and D is not in the benchmark."""
    index = "ABCD".index(ticker)
    values = {
        "ticker": ticker,
        "price": Decimal(PRICES[ticker]),
        "price_date": AS_OF,
        "sector": "Energy",
        "sub_industry": f"Sub {ticker}",
        "group": "CD" if ticker in "CD" else ticker,
        "benchmark_index": -1 if ticker == "D" else index,
        "risk_index": index,
    }
    return UniverseName(**{**values, **changes})


def snapshot(**changes: object):
    """Return the snapshot of an account worth 30,000 with 1,000 in cash."""
    values = {
        "account_id": "ACC-1",
        "as_of": AS_OF,
        "base_currency": "USD",
        "tax_regime": TaxRegime.US,
        "lot_method": LotMethod.HIFO,
        "fractional_shares": False,
        "tags": (),
        "strategy_id": "s",
        "strategy_version": 1,
        "rates": TaxRates(Decimal("0.37"), Decimal("0.20"), Decimal("0.038")),
        "cash": Decimal(1000),
        "benchmark_id": "BM",
        "benchmark_effective_date": date(2024, 5, 31),
        "benchmark_weights_sha256": "00" * 32,
        "risk_model_id": 1,
        "risk_model_as_of": AS_OF,
        "loadings_sha256": "11" * 32,
        "specific_variance_sha256": "22" * 32,
        "factor_covariance": ((1.0, 0.1), (0.1, 0.5)),
        "universe": tuple(name(ticker) for ticker in "ABCD"),
        "lots": (
            lot("a1", "A", 100, "2000.00"),
            lot("a2", "A", 100, "7000.00", LATELY),
            lot("b1", "B", 150, "12000.00"),
            lot("c1", "C", 200, "5000.00"),
        ),
        "recent_trades": (),
        "buy_locks": (),
        "loss_sale_locks": (),
        "borrow_rates": {},
        "corporate_actions": (),
        "flags": (),
    }
    return Snapshot(**{**values, **changes})
