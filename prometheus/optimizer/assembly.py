"""The quadratic program of given convex pieces, built by index arithmetic straight into column form.

Columns, in this order: y (K factor exposures), v (one for each name with two pieces or more: the trade measured from
the name's anchor), t (one for each piece: how far it is used). Rows: K factor identities y - X~' u = X~' d, the sums
v = sum of +-t, then the cash rows and the bounds 0 <= t <= length. The factor rows touch one column of each name, never
all its lots. P is diagonal.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.active_risk import FactorRisk
from prometheus.optimizer.backends.base import QuadraticProgram, SparseColumns
from prometheus.optimizer.envelope import ConvexPieces
from prometheus.optimizer.problem import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class CashRange:
    """Least and most cash that the trades may use, costs included; infinite where there is no limit."""

    least: float
    most: float


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
    """

    program: QuadraticProgram
    pieces: ConvexPieces
    direction: FloatArray
    anchor: FloatArray
    first_piece: int
    cash_rows: tuple[int | None, int | None]

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


def assemble(
    pieces: ConvexPieces,
    risk: FactorRisk,
    active: FloatArray,
    cost_rate: FloatArray,
    risk_aversion: float,
    cash: CashRange,
) -> AssembledProgram:
    """Build the program  min g ||y||^2 + sum of the pieces' costs  over the pieces' ranges and the cash range.

    Args:
        pieces: Convex pieces of every name.
        risk: Factor risk.
        active: (N,) d.
        cost_rate: (N,) k.
        risk_aversion: g.
        cash: Range of the cash used.
    """
    factors, names, count = risk.loadings.shape[1], pieces.size, len(pieces.asset)
    anchor = _anchors(pieces)
    up = pieces.left >= anchor[pieces.asset]
    direction = np.where(up, 1.0, -1.0)
    length = pieces.right - pieces.left
    marginal_right = pieces.slope + 2 * pieces.curvature * length

    per_name = np.bincount(pieces.asset, minlength=names)
    summed = np.flatnonzero(per_name > 1)
    row_of_sum = np.full(names, -1, dtype=np.int64)
    row_of_sum[summed] = factors + np.arange(len(summed))

    base_cash = anchor + cost_rate * np.abs(anchor)
    spent = float(base_cash.sum())
    equalities = factors + len(summed)
    cash_rows, cash_signs, cash_limits = _cash_rows(cash, spent, equalities)
    first_bound = equalities + len(cash_rows)

    columns = _ColumnBlocks()
    # y
    columns.add(np.arange(factors)[:, None], np.ones((factors, 1)))
    # v: factor rows, own sum
    columns.add(
        np.concatenate([np.tile(np.arange(factors), (len(summed), 1)), row_of_sum[summed][:, None]], axis=1),
        np.concatenate([-risk.loadings[summed], np.ones((len(summed), 1))], axis=1),
    )
    # t: factor rows where alone, else the name's sum; cash rows; the two bounds
    owner = pieces.asset
    alone = per_name[owner] == 1
    link_rows = np.where(alone[:, None], np.arange(factors), row_of_sum[owner][:, None])
    link_values = np.where(alone[:, None], -direction[:, None] * risk.loadings[owner], -direction[:, None])
    linked = np.where(alone[:, None], True, np.arange(factors) == 0)
    bound = first_bound + np.arange(count)
    cash_rates = direction * pieces.cash
    columns.add(
        np.concatenate(
            [
                link_rows,
                np.tile(np.array(cash_rows, dtype=np.int64), (count, 1)),
                bound[:, None],
                bound[:, None] + count,
            ],
            axis=1,
        ),
        np.concatenate(
            [
                link_values,
                cash_rates[:, None] * np.array(cash_signs)[None, :],
                np.full((count, 1), -1.0),
                np.ones((count, 1)),
            ],
            axis=1,
        ),
        np.concatenate([linked, np.ones((count, len(cash_rows) + 2), dtype=bool)], axis=1),
    )
    total = factors + len(summed) + count
    diagonal = np.concatenate([np.full(factors, 2 * risk_aversion), np.zeros(len(summed)), 2 * pieces.curvature])
    program = QuadraticProgram(
        P=_diagonal(diagonal),
        q=np.concatenate([np.zeros(factors + len(summed)), np.where(up, pieces.slope, -marginal_right)]),
        A=columns.matrix(first_bound + 2 * count, total),
        b=np.concatenate(
            [risk.exposures(active + anchor), np.zeros(len(summed)), np.array(cash_limits), np.zeros(count), length]
        ),
        equalities=equalities,
    )
    most = cash_rows[cash_signs.index(1.0)] if 1.0 in cash_signs else None
    least = cash_rows[cash_signs.index(-1.0)] if -1.0 in cash_signs else None
    return AssembledProgram(program, pieces, direction, anchor, factors + len(summed), (most, least))


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


def _diagonal(values: FloatArray) -> SparseColumns:
    size = len(values)
    return SparseColumns(values, np.arange(size), np.arange(size + 1), (size, size))


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
