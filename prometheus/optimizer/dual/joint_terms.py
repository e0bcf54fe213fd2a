"""The terms that join the assets of one problem (exposures, rows, cash, tracking error), and their prices.

The prices of the structured solver form one list: zeta = 2 (g + lambda) z of the K exposures, those of the linear rows,
of cash, of the other rows (problem/coupling.py), and lambda of the tracking-error limit. Source:
docs/specs/optimizer.md.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from prometheus.optimizer.certificate import DualPoint, Lagrangian
from prometheus.optimizer.problem.linked_exposures import NO_LINKS
from prometheus.optimizer.problem.linked_risk import Link
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

_Values = TypeVar("_Values", FloatArray, BoolArray)


@dataclass(frozen=True, slots=True, eq=False)
class JointTerms:
    """The terms that join the assets of one problem; the same for all its branches and ranges.

    Attributes:
        by_exposure: (K + linear rows, N) X~' above the linear rows' coefficients.
        by_asset: Its transpose.
        links: What links specific returns, L exposures more; empty for none.
        sizes: (links,) how many assets each link joins.
        assets: (L,) these assets, link after link.
        roots: (sum of the sizes squared,) the links' square roots, row after row.
        columns: (sum of the sizes squared,) the same, column after column.
        remainders: (sum of the sizes squared,) the links' remainders, row after row.
        factors: K + L.
        linear: How many rows are linear.
        at_rest: (K + L,) exposures of the active weights before trading.
        least: (R + 1,) least use: linear rows, cash, other rows.
        most: (R + 1,) greatest use.
        te_max: Largest tracking error; infinite for none.
    """

    by_exposure: FloatArray
    by_asset: FloatArray
    links: tuple[Link, ...]
    sizes: IntArray
    assets: IntArray
    roots: FloatArray
    columns: FloatArray
    remainders: FloatArray
    factors: int
    linear: int
    at_rest: FloatArray
    least: FloatArray
    most: FloatArray
    te_max: float

    @classmethod
    def of(cls, lagrangian: Lagrangian) -> "JointTerms":
        """Collect the terms of a problem."""
        rows, cash, links = lagrangian.rows, lagrangian.cash, lagrangian.risk.links
        packed = lagrangian.risk.packed or NO_LINKS
        linear = rows.linear
        at_rest = lagrangian.risk.exposures(lagrangian.cost.active)
        by_exposure = np.ascontiguousarray(
            np.concatenate([lagrangian.risk.loadings.T, lagrangian.cost.row_buy[:linear]])
        )
        return cls(
            by_exposure=by_exposure,
            by_asset=np.ascontiguousarray(by_exposure.T),
            links=links,
            sizes=packed.sizes,
            assets=packed.assets,
            roots=packed.roots,
            columns=packed.columns,
            remainders=packed.remainders,
            factors=len(at_rest),
            linear=linear,
            at_rest=at_rest,
            least=np.concatenate([rows.least[:linear], [cash.least], rows.least[linear:]]),
            most=np.concatenate([rows.most[:linear], [cash.most], rows.most[linear:]]),
            te_max=rows.te_max,
        )

    @property
    def has_te(self) -> bool:
        """Say whether there is a tracking-error limit."""
        return bool(np.isfinite(self.te_max))

    @property
    def size(self) -> int:
        """Return the number of prices."""
        return self.factors + len(self.most) + 1

    @property
    def dense(self) -> int:
        """Return K, the number of exposures besides those of links."""
        return len(self.by_exposure) - self.linear

    @property
    def cash(self) -> int:
        """Return the index of the price of cash."""
        return self.factors + self.linear

    def besides_links(self, values: _Values) -> _Values:
        """Return the rows of (size, ...) values but for those of the linked exposures."""
        return np.concatenate([values[: self.dense], values[self.factors :]])

    def prices(self, dual: DualPoint, risk_aversion: float, rows: int) -> FloatArray:
        """Return the (size,) prices of a dual point, without those on sides that have no limit."""
        risk_price = dual.risk_price if self.has_te else 0.0
        at = dual.rows(rows)
        mu = np.concatenate([at[: self.linear], [dual.cash_price], at[self.linear :]])
        mu[((mu > 0) & ~np.isfinite(self.most)) | ((mu < 0) & ~np.isfinite(self.least))] = 0.0
        return np.concatenate([2 * (risk_aversion + risk_price) * dual.exposures, mu, [risk_price]])

    def dual_point(self, prices: FloatArray, risk_aversion: float) -> DualPoint:
        """Return the dual point of (size,) prices."""
        cash, risk_price = self.cash, float(prices[-1])
        exposures = prices[: self.factors] / (2 * (risk_aversion + risk_price))
        rows = np.concatenate([prices[self.factors : cash], prices[cash + 1 : -1]])
        return DualPoint(exposures, float(prices[cash]), rows, risk_price)
