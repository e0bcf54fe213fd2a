"""Columns of linked specific returns in a program: their part of P, and their rows of the tracking-error cone."""

import numpy as np

from prometheus.optimizer.backends.base import SparseColumns
from prometheus.optimizer.problem.active_risk import FactorRisk
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray


def quadratic_columns(diagonal: FloatArray, risk: FactorRisk, weight: float, column: IntArray) -> SparseColumns:
    """Return the upper triangle of P: a diagonal, and ``weight`` times the remainder of each block of linked assets.

    Args:
        diagonal: Diagonal without the links.
        risk: Gives the links.
        weight: 2 g.
        column: (N,) column of each asset's v; negative for assets without one.
    """
    size = len(diagonal)
    if not risk.links:
        return SparseColumns(diagonal, np.arange(size), np.arange(size + 1), (size, size))
    rows, columns, values = [np.arange(size)], [np.arange(size)], [diagonal.copy()]
    for link in risk.links:
        inside = np.flatnonzero(column[link.assets] >= 0)
        at, part = column[link.assets[inside]], weight * link.remainder[np.ix_(inside, inside)]
        values[0][at] += np.diag(part)
        above = np.triu_indices(len(at), 1)
        rows.append(at[above[0]])
        columns.append(at[above[1]])
        values.append(part[above])
    row, of = np.concatenate(rows), np.concatenate(columns)
    by = np.lexsort((row, of))
    ends = np.cumsum(np.bincount(of, minlength=size))
    return SparseColumns(np.concatenate(values)[by], row[by], np.concatenate([[0], ends]), (size, size))


def link_rows_of(risk: FactorRisk, assets: IntArray, first: int, *, held: bool) -> tuple[IntArray, FloatArray]:
    """Return (assets, n) rows of the cone and coefficients C of each asset in its block; n is the largest block's size.

    Args:
        risk: Gives the links.
        assets: The assets, ascending.
        first: Row of the first exposure of the first block.
        held: False where there is no cone: no rows.
    """
    widest = max((len(link.assets) for link in risk.links), default=0) if held else 0
    rows, values = np.zeros((len(assets), widest), dtype=np.int64), np.zeros((len(assets), widest))
    if not widest:
        return rows, values
    for link in risk.links:
        at = np.flatnonzero(link.place[assets] >= 0)
        place, n = link.place[assets[at]], len(link.assets)
        rows[at[:, None], np.arange(n)] = first + link.first + np.arange(n)
        values[at[:, None], np.arange(n)] = link.root[place]
    return rows, values
