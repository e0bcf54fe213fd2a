"""Specific risk that is linked within blocks of names: the remainder of each block, and how free names answer to it.

The specific covariance of a block is S = R + diag(D) with R positive semidefinite (specific_split.py). D becomes the
curvature of each name's own cost. R = C C' joins the names like further factors, C'(d + u) being their exposures. Names
that answer to prices answer through the inverse of diag(2 q) + 2 g R over themselves, block by block. Source:
docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.optimizer.problem import FloatArray, IntArray, SpecificBlock
from prometheus.optimizer.semidefinite import solve_semidefinite

#: Systems up to this size a library solves on one thread (seen to change with the number of threads from 120 on).
_ONE_THREAD = 48


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """The remainder of one block.

    Attributes:
        names: (n,) ascending indices.
        root: (n, n) C, lower triangular.
        remainder: (n, n) R = C C', annualised covariance.
        first: Position of its exposures among those of all blocks.
        place: (N,) position of each name of the problem in the block, -1 outside.
    """

    names: IntArray
    root: FloatArray
    remainder: FloatArray
    first: int
    place: IntArray

    @property
    def exposures(self) -> slice:
        """Return where its exposures stand among those of all blocks."""
        return slice(self.first, self.first + len(self.names))


@dataclass(frozen=True, slots=True, eq=False)
class FreeNames:
    """How names strictly inside a piece answer together: the inverse of M = diag(2 q) + 2 g R over them.

    Attributes:
        names: (A,) the free names.
        curvature: (A,) q.
        risk_aversion: g; a tracking-error multiplier is added to it.
        links: Blocks of the whole problem; none where names answer alone.
    """

    names: IntArray
    curvature: FloatArray
    risk_aversion: float
    links: tuple[Link, ...]

    def answer(self, prices: FloatArray) -> FloatArray:
        """Return M^-1 times (A, m) prices."""
        found: FloatArray = prices / (2 * self.curvature)[:, None]
        for link in self.links:
            at, place = self._members(link)
            if not len(at):
                continue
            matrix = 2 * self.risk_aversion * link.remainder[np.ix_(place, place)]
            matrix[np.arange(len(at)), np.arange(len(at))] += 2 * self.curvature[at]
            found[at] = _solved(matrix, prices[at])
        return found

    def disturbances(
        self, columns: FloatArray, own: FloatArray, moved: FloatArray, jumps: FloatArray, asset: IntArray
    ) -> FloatArray:
        """Return (M, M) r_i' H^-1 r_j: what moves cost once everything that is free has answered to them.

        Args:
            columns: (A, m) what a unit of each free name adds to each priced condition besides the links.
            own: (m, m) the conditions' own part of the dual's Hessian H.
            moved: (m, M) what each move adds to those conditions.
            jumps: (E, M) what each move adds to the trade of each changed name.
            asset: (E,) the changed names; one may stand there more than once.
        """
        pull = np.zeros((len(self.names), jumps.shape[1]))
        direct = np.zeros((jumps.shape[1], jumps.shape[1]))
        for link in self.links:
            of_block = link.place[asset]
            inside = of_block >= 0
            if not inside.any():
                continue
            total = np.zeros((len(link.names), jumps.shape[1]))
            np.add.at(total, of_block[inside], jumps[inside])
            charged = np.einsum("ij,jm->im", 2 * self.risk_aversion * link.remainder, total)
            direct += np.einsum("im,in->mn", total, charged)
            at, place = self._members(link)
            pull[at] = charged[place]
        answered = self.answer(np.concatenate([columns, pull], axis=1))
        by_condition, by_move = answered[:, : columns.shape[1]], answered[:, columns.shape[1] :]
        matrix = np.einsum("ik,il->kl", columns, by_condition) + own
        rest = moved - np.einsum("ik,im->km", columns, by_move)
        products: FloatArray = direct - np.einsum("im,in->mn", pull, by_move)
        products += np.einsum("km,kn->mn", rest, solve_semidefinite(matrix, rest))
        return products

    def _members(self, link: Link) -> tuple[IntArray, IntArray]:
        """Return which of the free names stand in a block, and where in it."""
        of_block = link.place[self.names]
        at = np.flatnonzero(of_block >= 0)
        return at, of_block[at]


def _solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return x with matrix x = right, matrix positive definite: a large one is eliminated part by part.

    Each part is small enough for the library to solve it on one thread, and the products are sums of einsum: the number
    of threads does not reach the last bits.
    """
    if len(matrix) <= _ONE_THREAD:
        return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    head, tail = slice(0, _ONE_THREAD), slice(_ONE_THREAD, None)
    beside = matrix[head, tail]
    solved = np.linalg.solve(matrix[head, head], np.concatenate([beside, right[head]], axis=1))
    through, first = solved[:, : beside.shape[1]], solved[:, beside.shape[1] :]
    rest = _solved(
        matrix[tail, tail] - np.einsum("ij,ik->jk", beside, through),
        right[tail] - np.einsum("ij,im->jm", beside, first),
    )
    return np.concatenate([first - np.einsum("ij,jm->im", through, rest), rest])


def block_of(names: IntArray, covariance: FloatArray) -> SpecificBlock:
    """Return a block in ascending order of its names, with read-only arrays.

    Args:
        names: (n,) indices in any order.
        covariance: (n, n) annualised specific covariance in the same order.
    """
    by = np.argsort(names, kind="stable")
    return SpecificBlock(np.ascontiguousarray(names[by]), np.ascontiguousarray(covariance[np.ix_(by, by)]))
