"""Specific risk that is linked within blocks of names, split into a part for each name alone and a remainder.

The specific covariance of a block is S = R + diag(D) with R positive semidefinite. D becomes the curvature of each
name's own cost, on which the envelopes rest: the more of the variance it takes, the tighter they are. R = C C' joins
the names like further factors, C'(d + u) being their exposures. Names that answer to prices answer through the inverse
of diag(2 q) + 2 g R over themselves, block by block. Source: docs/specs/optimizer.md.
"""

from dataclasses import dataclass

import numpy as np

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.problem import FloatArray, IntArray, RebalanceProblem, SpecificBlock
from prometheus.optimizer.semidefinite import semidefinite_root, solve_semidefinite

#: Least eigenvalue of a block's correlations: names that are more alike than that cannot be told apart.
LEAST_EIGENVALUE = 1e-6
#: Blocks up to this size get the best split that a few steps find, larger ones a quicker one.
_POLISHED = 96
_POLISHING_STEPS = 8
#: What is split off stays below the largest possible amount by this part, so that R is safely semidefinite.
_MARGIN = 1e-3
#: Bits kept of each name's share: the last ones may depend on the number of threads of a linear-algebra library.
_BITS = 12
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


def split_specific(problem: RebalanceProblem) -> tuple[FloatArray, tuple[Link, ...]]:
    """Split the specific covariance of a problem.

    Returns:
        (N,) D, the specific variance of names outside of all blocks; and the remainder of each block.

    Raises:
        InvalidProblemError: A block is not positive definite.
    """
    own = problem.specific_variance.copy()
    links: list[Link] = []
    first = 0
    for block in problem.specific_blocks:
        scale = np.sqrt(problem.specific_variance[block.names])
        correlation = block.covariance / (scale[:, None] * scale)
        least = float(np.linalg.eigvalsh(correlation)[0])
        if not least >= LEAST_EIGENVALUE:
            raise InvalidProblemError(
                f"the specific block of {problem.tickers[block.names[0]]} is not positive definite: the least "
                f"eigenvalue of its correlations is {least:.3g}, it must be at least {LEAST_EIGENVALUE:g}. Give names "
                "that are the same security a correlation of 0.999."
            )
        own[block.names] *= _rounded_down(_separable_share(correlation, least))
        remainder = block.covariance - np.diag(own[block.names])
        place = np.full(problem.size, -1, dtype=np.int64)
        place[block.names] = np.arange(len(block.names))
        root = semidefinite_root(remainder, "specific remainder")
        links.append(Link(block.names, root, remainder, first, place))
        first += len(block.names)
    return own, tuple(links)


def _separable_share(correlation: FloatArray, least: float) -> FloatArray:
    """Return (n,) how much of each name's variance can be split off: large in sum, C - diag positive semidefinite."""
    size = len(correlation)
    uniform = np.full(size, (1 - _MARGIN) * least)
    # what each name could give if it were alone; names that are alike can give little
    alone = 1.0 / np.diag(np.linalg.inv(correlation))
    scale = 1.0 / np.sqrt(alone)
    common = float(np.linalg.eigvalsh(correlation * scale[:, None] * scale)[0])
    share = (1 - _MARGIN) * common * alone
    if share.sum() < uniform.sum():
        share = uniform
    return _polished(correlation, share) if size <= _POLISHED else share


def _polished(correlation: FloatArray, share: FloatArray) -> FloatArray:
    """Raise the sum of the shares by Newton steps on  sum + mu log det(C - diag(share))  with falling mu."""
    mu = 0.2
    for _ in range(_POLISHING_STEPS):
        inverse = np.linalg.inv(correlation - np.diag(share))
        step = np.linalg.solve(mu * inverse * inverse, 1.0 - mu * np.diag(inverse))
        length = 1.0
        while not _is_split(correlation, share + length * step):
            length *= 0.6
            if length < _MARGIN:
                return share
        share = share + length * step
        mu *= 0.5
    return share


def _is_split(correlation: FloatArray, share: FloatArray) -> bool:
    if not (share > 0).all():
        return False
    return bool(np.linalg.eigvalsh(correlation - np.diag(share))[0] > _MARGIN * LEAST_EIGENVALUE)


def _rounded_down(share: FloatArray) -> FloatArray:
    mantissa, exponent = np.frexp(share)
    rounded: FloatArray = np.ldexp(np.floor(np.ldexp(mantissa, _BITS)), exponent - _BITS)
    return rounded


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
