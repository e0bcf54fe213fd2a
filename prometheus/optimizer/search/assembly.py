"""The quadratic program of given convex pieces, built by index arithmetic straight into column form.

Columns, in this order: y (K factor exposures), v (one for each asset with two pieces or more: the trade measured from
the asset's anchor), t (one for each piece: how far it is used). Rows: K factor identities y - X~' u = X~' d, the sums
v = sum of +-t, then the cash rows, the coupling rows (one for each side that has a limit), the bounds 0 <= t <= length
and the cone of the tracking error ||[y; sqrt(D) (d + u)]|| <= TE. Factor rows, linear coupling rows and the cone touch
one column of each asset, never all its lots. P is diagonal, but for the links of specific returns: assets that are
linked always have their v, whose part of P is 2 g R of their block, and the cone has rows C' (d + u) for each block.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.backends.base import QuadraticProgram, SparseColumns
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.coupling import RowLimits
from prometheus.optimizer.problem.envelope import ConvexPieces
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.problem.trade_range import CashRange
from prometheus.optimizer.search.link_columns import link_rows_of, quadratic_columns


@dataclass(frozen=True, slots=True, eq=False)
class CouplingRows:
    """The coupling rows of a program.

    Attributes:
        limits: Limits of each row and of the tracking error.
        matrix: (linear rows, N) G of the rows that are linear in the trades.
        use_at: Returns (R,) the rows' use by (N,) trades.
    """

    limits: RowLimits
    matrix: FloatArray
    use_at: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class AssembledProgram:
    """A quadratic program and how to read its answer.

    Attributes:
        program: The program.
        pieces: The pieces it was built from.
        direction: (P,) +1 for a piece that is used from its left end upwards, -1 from its right end downwards.
        anchor: (N,) trade at which no piece is used.
        first_piece: Column of the first piece.
        cash_rows: Row numbers of "at most" and "at least"; None where there is no such limit.
        sides: For each coupling side in the program, in the order of its rows: the coupling row and +1 for "at most",
            -1 for "at least".
        first_side: Row number of the first of them.
        cone_row: Row number of the cone's head; None without a tracking-error limit.
    """

    program: QuadraticProgram
    pieces: ConvexPieces
    direction: FloatArray
    anchor: FloatArray
    first_piece: int
    cash_rows: tuple[int | None, int | None]
    sides: tuple[tuple[int, float], ...] = ()
    first_side: int = 0
    cone_row: int | None = None

    def used(self, x: FloatArray) -> FloatArray:
        """Return (P,) how far each piece is used, clipped to its length."""
        return np.minimum(np.maximum(x[self.first_piece :], 0.0), self.pieces.right - self.pieces.left)

    def trades(self, x: FloatArray) -> FloatArray:
        """Return (N,) the trades u of a solution."""
        moved = np.bincount(self.pieces.asset, weights=self.direction * self.used(x), minlength=self.pieces.size)
        return np.minimum(np.maximum(self.anchor + moved, self.pieces.low), self.pieces.high)

    def cash_price(self, z: FloatArray) -> float:
        """Return eta, the multiplier of one unit of cash used: positive where cash is scarce."""
        most, least = self.cash_rows
        return (max(float(z[most]), 0.0) if most is not None else 0.0) - (
            max(float(z[least]), 0.0) if least is not None else 0.0
        )

    def row_prices(self, z: FloatArray, rows: int) -> FloatArray:
        """Return (R,) the multipliers of one unit of use of each coupling row: positive at its greatest value."""
        prices = np.zeros(rows)
        for at, (r, sign) in enumerate(self.sides, start=self.first_side):
            prices[r] += sign * max(float(z[at]), 0.0)
        return prices

    def risk_price(self, z: FloatArray) -> float:
        """Return lambda: what the tracking-error limit adds to the risk aversion."""
        if self.cone_row is None:
            return 0.0
        return max(float(z[self.cone_row]), 0.0) / (2 * float(self.program.b[self.cone_row]))


def assemble(
    pieces: ConvexPieces,
    risk: FactorRisk,
    active: FloatArray,
    cost_rate: FloatArray,
    risk_aversion: float,
    cash: CashRange,
    coupling: CouplingRows | None = None,
) -> AssembledProgram:
    """Build the program  min g ||y||^2 + sum of the pieces' costs  over the pieces' ranges and the cash range.

    Args:
        pieces: Convex pieces of every asset.
        risk: Factor risk.
        active: (N,) d.
        cost_rate: (N,) k.
        risk_aversion: g.
        cash: Range of the cash used.
        coupling: Coupling rows; None for none.
    """
    factors, asset_count, count = risk.loadings.shape[1], pieces.size, len(pieces.asset)
    anchor = _anchors(pieces)
    up = pieces.left >= anchor[pieces.asset]
    direction = np.where(up, 1.0, -1.0)
    length = pieces.right - pieces.left
    marginal_right = pieces.slope + 2 * pieces.curvature * length

    per_asset = np.bincount(pieces.asset, minlength=asset_count)
    linked = np.zeros(asset_count, dtype=bool)
    for link in risk.links:
        linked[link.assets] = True
    summed = np.flatnonzero((per_asset > 1) | ((per_asset == 1) & linked))
    row_of_sum = np.full(asset_count, -1, dtype=np.int64)
    row_of_sum[summed] = factors + np.arange(len(summed))

    base_cash = anchor + cost_rate * np.abs(anchor)
    spent = float(base_cash.sum())
    equalities = factors + len(summed)
    cash_rows, cash_signs, cash_limits = _cash_rows(cash, spent, equalities)
    extra = _Extra.of(coupling, pieces, anchor, equalities + len(cash_rows))
    first_bound = equalities + len(cash_rows) + len(extra.sides)
    first_cone = first_bound + 2 * count
    # square roots of D, where the cone needs them
    specific = np.sqrt(risk.specific_variance) if extra.has_cone else np.zeros(asset_count)
    cone = np.full((1, 1), extra.has_cone)

    columns = _ColumnBlocks()
    # y: its identity; the cone
    every = np.arange(factors)[:, None]
    columns.add(
        np.concatenate([every, first_cone + 1 + every], axis=1),
        np.concatenate([np.ones((factors, 1)), -np.ones((factors, 1))], axis=1),
        np.concatenate([np.ones((factors, 1), dtype=bool), np.repeat(cone, factors, axis=0)], axis=1),
    )
    # v: factor rows, own sum; linear rows; the cone, there also its block's rows
    linear = extra.linear(summed)
    link_rows, link_roots = link_rows_of(risk, summed, first_cone + 1 + factors + asset_count, held=extra.has_cone)
    columns.add(
        np.concatenate(
            [
                np.tile(np.arange(factors), (len(summed), 1)),
                row_of_sum[summed][:, None],
                np.tile(extra.linear_rows, (len(summed), 1)),
                first_cone + 1 + factors + summed[:, None],
                link_rows,
            ],
            axis=1,
        ),
        np.concatenate(
            [-risk.loadings[summed], np.ones((len(summed), 1)), linear, -specific[summed][:, None], -link_roots],
            axis=1,
        ),
        np.concatenate(
            [
                np.ones((len(summed), factors + 1), dtype=bool),
                linear != 0,
                np.repeat(cone, len(summed), axis=0),
                link_roots != 0,
            ],
            axis=1,
        ),
    )
    # t: factor rows where alone, else the asset's sum; cash rows; linear rows where alone; other rows; the two bounds;
    # the cone where alone
    owner = pieces.asset
    alone = row_of_sum[owner] < 0
    sum_rows = np.where(alone[:, None], np.arange(factors), row_of_sum[owner][:, None])
    sum_values = np.where(alone[:, None], -direction[:, None] * risk.loadings[owner], -direction[:, None])
    in_sum = np.where(alone[:, None], True, np.arange(factors) == 0)
    bound = first_bound + np.arange(count)
    cash_rates = direction * pieces.cash
    linear = direction[:, None] * extra.linear(owner)
    bent = direction[:, None] * extra.bent(pieces)
    columns.add(
        np.concatenate(
            [
                sum_rows,
                np.tile(np.array(cash_rows, dtype=np.int64), (count, 1)),
                np.tile(extra.linear_rows, (count, 1)),
                np.tile(extra.bent_rows, (count, 1)),
                bound[:, None],
                bound[:, None] + count,
                first_cone + 1 + factors + owner[:, None],
            ],
            axis=1,
        ),
        np.concatenate(
            [
                sum_values,
                cash_rates[:, None] * np.array(cash_signs)[None, :],
                linear,
                bent,
                np.full((count, 1), -1.0),
                np.ones((count, 1)),
                (-direction * specific[owner])[:, None],
            ],
            axis=1,
        ),
        np.concatenate(
            [
                in_sum,
                np.ones((count, len(cash_rows)), dtype=bool),
                alone[:, None] & (linear != 0),
                bent != 0,
                np.ones((count, 2), dtype=bool),
                alone[:, None] & cone,
            ],
            axis=1,
        ),
    )
    total = factors + len(summed) + count
    diagonal = np.concatenate([np.full(factors, 2 * risk_aversion), np.zeros(len(summed)), 2 * pieces.curvature])
    start = risk.exposures(active + anchor)
    limits = [
        start[:factors],
        np.zeros(len(summed)),
        np.array(cash_limits),
        extra.bounds,
        np.zeros(count),
        length,
    ]
    if extra.has_cone:
        limits += [np.array([extra.te_max]), np.zeros(factors), specific * (active + anchor), start[factors:]]
    cone_size = 1 + asset_count + risk.size
    rows = first_cone + (cone_size if extra.has_cone else 0)
    charged = np.zeros(len(summed))
    if risk.links:
        charged = (2 * risk_aversion * risk.price(np.concatenate([np.zeros(factors), start[factors:]])))[summed]
    program = QuadraticProgram(
        P=quadratic_columns(diagonal, risk, 2 * risk_aversion, row_of_sum),
        q=np.concatenate([np.zeros(factors), charged, np.where(up, pieces.slope, -marginal_right)]),
        A=columns.matrix(rows, total),
        b=np.concatenate(limits),
        equalities=equalities,
        second_order=(cone_size,) if extra.has_cone else (),
    )
    most = cash_rows[cash_signs.index(1.0)] if 1.0 in cash_signs else None
    least = cash_rows[cash_signs.index(-1.0)] if -1.0 in cash_signs else None
    return AssembledProgram(
        program=program,
        pieces=pieces,
        direction=direction,
        anchor=anchor,
        first_piece=factors + len(summed),
        cash_rows=(most, least),
        sides=extra.sides,
        first_side=equalities + len(cash_rows),
        cone_row=first_cone if extra.has_cone else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Extra:
    """The coupling sides of one program: their rows, coefficients and right-hand sides."""

    sides: tuple[tuple[int, float], ...]
    linear_rows: IntArray
    bent_rows: IntArray
    bounds: FloatArray
    te_max: float
    _linear: FloatArray
    _bent: tuple[IntArray, FloatArray]

    @classmethod
    def of(cls, coupling: CouplingRows | None, pieces: ConvexPieces, anchor: FloatArray, first: int) -> "_Extra":
        """Collect the sides that have a limit."""
        if coupling is None:
            none = np.zeros(0, dtype=np.int64)
            return cls((), none, none, np.zeros(0), np.inf, np.zeros((0, pieces.size)), (none, np.zeros(0)))
        limits, at_anchor = coupling.limits, coupling.use_at(anchor)
        sides: list[tuple[int, float]] = []
        bounds: list[float] = []
        for r in range(len(limits.names)):
            for sign, limit in ((1.0, limits.most[r]), (-1.0, limits.least[r])):
                if np.isfinite(limit):
                    sides.append((r, sign))
                    bounds.append(sign * (float(limit) - float(at_anchor[r])))
        row = np.array([r for r, _ in sides], dtype=np.int64)
        sign_of = np.array([sign for _, sign in sides], dtype=np.float64)
        is_linear = row < limits.linear
        number = first + np.arange(len(sides))
        return cls(
            sides=tuple(sides),
            linear_rows=number[is_linear],
            bent_rows=number[~is_linear],
            bounds=np.array(bounds, dtype=np.float64),
            te_max=limits.te_max,
            _linear=sign_of[is_linear][:, None] * coupling.matrix[row[is_linear]],
            _bent=(row[~is_linear], sign_of[~is_linear]),
        )

    @property
    def has_cone(self) -> bool:
        """Say whether there is a tracking-error limit."""
        return bool(np.isfinite(self.te_max))

    def linear(self, assets: IntArray) -> FloatArray:
        """Return (assets, linear sides) coefficients of trades."""
        return self._linear[:, assets].T

    def bent(self, pieces: ConvexPieces) -> FloatArray:
        """Return (P, other sides) coefficients of the pieces."""
        row, sign = self._bent
        coefficients: FloatArray = (sign[:, None] * pieces.row_slope[row]).T
        return coefficients


def _anchors(pieces: ConvexPieces) -> FloatArray:
    """Return (N,) the end of a piece next to zero: pieces right of it are used upwards, pieces left of it downwards."""
    anchor = np.where(pieces.low > 0, pieces.low, np.minimum(pieces.high, 0.0))
    straddles = (pieces.left < 0) & (pieces.right > 0)
    anchor[pieces.asset[straddles]] = pieces.left[straddles]
    return anchor


def _cash_rows(cash: CashRange, spent: float, first: int) -> tuple[list[int], list[float], list[float]]:
    signs: list[float] = []
    limits: list[float] = []
    if np.isfinite(cash.most):
        signs.append(1.0)
        limits.append(cash.most - spent)
    if np.isfinite(cash.least):
        signs.append(-1.0)
        limits.append(spent - cash.least)
    return list(range(first, first + len(signs))), signs, limits


class _ColumnBlocks:
    """Columns collected block by block, every column of a block with the same number of slots."""

    def __init__(self) -> None:
        self._rows: list[IntArray] = []
        self._values: list[FloatArray] = []
        self._counts: list[IntArray] = []

    def add(self, rows: IntArray, values: FloatArray, keep: np.ndarray | None = None) -> None:
        """Append columns given as (columns, slots) rows and values; ``keep`` leaves slots out."""
        if keep is None:
            keep = np.ones(rows.shape, dtype=bool)
        self._rows.append(rows[keep])
        self._values.append(values[keep])
        self._counts.append(keep.sum(axis=1))

    def matrix(self, rows: int, columns: int) -> SparseColumns:
        """Return the collected columns as one matrix."""
        ends = np.cumsum(np.concatenate(self._counts))
        return SparseColumns(
            np.concatenate(self._values), np.concatenate(self._rows), np.concatenate([[0], ends]), (rows, columns)
        )
