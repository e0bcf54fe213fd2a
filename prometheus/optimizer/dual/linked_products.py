"""Compiled loop: what changes of trades cost where specific returns are linked, once every free asset has answered.

Assets that answer to prices answer through the inverse of M = diag(2 q) + 2 g R over themselves, block by block. A
change of one asset pulls at the free assets of its own block only, so that the work is a small factor for each block
and a few right-hand sides. Source: docs/specs/optimizer.md.
"""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.linked_exposures import PackedLinks
from prometheus.optimizer.problem.rebalance_problem import FloatArray, IntArray
from prometheus.optimizer.problem.semidefinite import solve_semidefinite


def linked_products(
    links: PackedLinks,
    risk_aversion: float,
    free: tuple[IntArray, FloatArray, FloatArray],
    own: FloatArray,
    moved: FloatArray,
    changes: tuple[IntArray, IntArray, FloatArray],
) -> FloatArray:
    """Return (M, M) r_i' H^-1 r_j: what moves cost once everything that is free has answered to them.

    Args:
        links: Blocks of the whole problem.
        risk_aversion: g; a tracking-error multiplier is added to it.
        free: The A assets strictly inside a piece: (A,) assets, each once; (A,) q; (A, m) what a unit of each adds to
            each priced condition besides the links.
        own: (m, m) the conditions' own part of the dual's Hessian H.
        moved: (m, M) what each move adds to those conditions.
        changes: The E changes of trades: (E,) move to which each belongs; (E,) the changed assets, of which one may
            be there more than once; (E,) by how much each trade changes.
    """
    assets, curvature, columns = free
    move, asset, jump = changes
    matrix, rest = own.copy(), np.ascontiguousarray(moved).copy()
    products = np.zeros((moved.shape[1], moved.shape[1]))
    _eliminate(
        links.sizes, links.remainders, links.place[assets], curvature, risk_aversion, np.ascontiguousarray(columns),
        move, links.place[asset], jump, matrix, rest, products,
    )  # fmt: skip
    products += np.einsum("km,kn->mn", rest, solve_semidefinite(matrix, rest))
    return products


@compiled("void <- I F I F f F2 I I F F2 F2 F2")
def _eliminate(
    sizes: IntArray,
    remainders: FloatArray,
    place: IntArray,
    curvature: FloatArray,
    risk_aversion: float,
    columns: FloatArray,
    move: IntArray,
    jump_place: IntArray,
    jump: FloatArray,
    matrix: FloatArray,
    rest: FloatArray,
    products: FloatArray,
) -> None:  # pragma: no cover - machine code, which is not traced; dense inverses check it
    """Let the free assets answer: add their part to the Hessian, and take it off conditions and products.

    Args:
        sizes: (links,) how many assets each link joins.
        remainders: (entries,) R of each link, row after row.
        place: (A,) place of each free asset among the linked ones, -1 outside.
        curvature: (A,) q.
        risk_aversion: g.
        columns: (A, m) what a unit of each free asset adds to each condition.
        move: (E,) the move of each change.
        jump_place: (E,) place of its asset among the linked ones, -1 outside.
        jump: (E,) change of its trade.
        matrix: (m, m) added to.
        rest: (m, M) changed to what the moves add once the free assets have answered to their pull.
        products: (M, M) zeros; filled with what the moves cost at unchanged prices.
    """
    width, moves, twice = len(matrix), len(products), 2.0 * risk_aversion
    for a in range(len(place)):
        if place[a] < 0:
            for c in range(width):
                part = columns[a, c] / (2.0 * curvature[a])
                for d in range(width):
                    matrix[c, d] += part * columns[a, d]
    local = np.empty(moves, dtype=np.int64)
    begin = entry = 0
    for size in sizes:
        # the moves of this block, and what they charge its assets
        local[:] = -1
        of_move = np.empty(moves, dtype=np.int64)
        count = 0
        for e in range(len(move)):
            if begin <= jump_place[e] < begin + size and local[move[e]] < 0:
                local[move[e]] = count
                of_move[count] = move[e]
                count += 1
        charged = np.zeros((size, count))
        for e in range(len(move)):
            if begin <= jump_place[e] < begin + size:
                row, amount = entry + (jump_place[e] - begin) * size, twice * jump[e]
                for i in range(size):
                    charged[i, local[move[e]]] += amount * remainders[row + i]
        for e in range(len(move)):
            if begin <= jump_place[e] < begin + size:
                i = jump_place[e] - begin
                for n in range(count):
                    products[move[e], of_move[n]] += jump[e] * charged[i, n]
        # the factor's inverse times the free assets' columns and the moves' pull at them, the factor built on the way
        members = 0
        for a in range(len(place)):
            members += begin <= place[a] < begin + size
        free, who = np.empty(members, dtype=np.int64), np.empty(members, dtype=np.int64)
        members = 0
        for a in range(len(place)):
            if begin <= place[a] < begin + size:
                free[members], who[members] = place[a] - begin, a
                members += 1
        lower, solved = np.empty((members, members)), np.empty((members, width + count))
        for a in range(members):
            for b in range(a):
                lower[a, b] = twice * remainders[entry + free[a] * size + free[b]]
            lower[a, a] = twice * remainders[entry + free[a] * size + free[a]] + 2.0 * curvature[who[a]]
            for c in range(width):
                solved[a, c] = columns[who[a], c]
            for n in range(count):
                solved[a, width + n] = charged[free[a], n]
        below = np.empty(members)
        for a in range(members):
            pivot = 1.0 / np.sqrt(lower[a, a])
            for c in range(width + count):
                solved[a, c] *= pivot
            for b in range(a + 1, members):
                below[b] = lower[b, a] * pivot
            for b in range(a + 1, members):
                factor = below[b]
                for d in range(a + 1, b + 1):
                    lower[b, d] -= factor * below[d]
                for c in range(width + count):
                    solved[b, c] -= factor * solved[a, c]
        for a in range(members):
            for c in range(width):
                part = solved[a, c]
                for d in range(width):
                    matrix[c, d] += part * solved[a, d]
                for n in range(count):
                    rest[c, of_move[n]] -= part * solved[a, width + n]
            for m in range(count):
                part = solved[a, width + m]
                for n in range(count):
                    products[of_move[m], of_move[n]] -= part * solved[a, width + n]
        begin, entry = begin + size, entry + size * size
