"""Compiled loops of the structured solver where specific returns are linked: Newton's step without the links' prices.

Links give the dual one more price for each linked asset, but the system of all prices contains none of them. A unit of
an asset's trade adds the same to its block's exposures whatever moves it, so the assets that answer to prices tell the
links' whole part: block by block through M = diag(1 / 2 g s) + R over these assets, s the softness of each. M is
factorised once for each step; the prices that are left are those of a problem without links.
"""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.dual.kernels import ACTIVE, CURVATURE, OWNER, VARIANCE
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray


@compiled("void <- F f F2 I2 F2 B F F F2 F2 I I I I F B F F2 F2")
def answers_of_assets(
    prices: FloatArray,
    risk_aversion: float,
    by_asset: FloatArray,
    places: IntArray,
    branches: FloatArray,
    inside: BoolArray,
    mixing: FloatArray,
    trade: FloatArray,
    rate: FloatArray,
    use: FloatArray,
    first_branch: IntArray,
    several: IntArray,
    left: IntArray,
    right: IntArray,
    epsilon: FloatArray,
    opened: BoolArray,
    softness: FloatArray,
    columns: FloatArray,
    own: FloatArray,
) -> None:
    """Say how every asset answers to prices, and what a unit of its answer adds to each condition besides the links.

    What answers are the branches inside a piece and the assets between two branches, as in the Hessian without links
    (steps.py). An asset may answer in several ways, which differ in what they add; then ``columns`` has the
    mean and ``own`` the rest.

    Args:
        prices: (size,) prices; only lambda is read.
        risk_aversion: g.
        by_asset: As ``hessian`` takes it, and the next ones.
        places: (3, B)
        branches: (3, B)
        inside: (B,)
        mixing: (B,)
        trade: (B,)
        rate: (1 + other rows, B)
        use: (1 + other rows, B)
        first_branch: (N + 1,) first branch of each asset, and how many branches there are.
        several: (M,)
        left: (M,)
        right: (M,)
        epsilon: (M,)
        opened: (M,)
        softness: (N,) zeros; filled with the change of each asset's trade for a unit of price.
        columns: (N, C) zeros, C = K + rows + 1; filled where the softness is positive.
        own: (C, C) zeros; filled.
    """
    cash, rates, width = by_asset.shape[1], len(rate), len(own)
    stretch = 1.0 + prices[len(prices) - 1] / risk_aversion
    ways = np.zeros(len(softness), dtype=np.int64)
    most = 2 * len(mixing)
    assets, weights, units = np.empty(most, dtype=np.int64), np.empty(most), np.empty(most)
    rows = np.empty((most, width - cash))
    count = 0
    for b in range(len(mixing)):
        if inside[b] and mixing[b] != 0.0:
            assets[count], units[count] = places[OWNER, b], 1.0
            weights[count] = mixing[b] * (0.5 / (branches[CURVATURE, b] * stretch))
            for r in range(rates):
                rows[count, r] = rate[r, b]
            rows[count, rates] = 2.0 * branches[VARIANCE, b] * (branches[ACTIVE, b] + trade[b])
            count += 1
    for m in range(len(epsilon)):
        near, far = left[m], right[m]
        begin, end = first_branch[several[m]], first_branch[several[m] + 1]
        if end - begin > 2:
            # mixed among all branches in use: the distance of each from their mean
            used, mean = 0, np.zeros(rates + 2)
            for b in range(begin, end):
                if mixing[b] != 0.0:
                    used += 1
                    mean[0] += trade[b]
                    for r in range(rates):
                        mean[1 + r] += use[r, b]
                    there = branches[ACTIVE, b] + trade[b]
                    mean[rates + 1] += branches[VARIANCE, b] * there * there
            mean /= used
            for b in range(begin, end):
                if mixing[b] != 0.0 and used > 1:
                    assets[count], units[count], weights[count] = several[m], trade[b] - mean[0], 2.0 / epsilon[m]
                    for r in range(rates):
                        rows[count, r] = use[r, b] - mean[1 + r]
                    there = branches[ACTIVE, b] + trade[b]
                    rows[count, rates] = branches[VARIANCE, b] * there * there - mean[rates + 1]
                    count += 1
        elif 0.0 < mixing[far] < 1.0 or (len(opened) and opened[m]):
            assets[count], units[count] = several[m], trade[far] - trade[near]
            weights[count] = 1.0 / epsilon[m]
            for r in range(rates):
                rows[count, r] = use[r, far] - use[r, near]
            there, here = branches[ACTIVE, far] + trade[far], branches[ACTIVE, near] + trade[near]
            rows[count, rates] = branches[VARIANCE, near] * (there * there - here * here)
            count += 1
    for m in range(count):
        n = assets[m]
        ways[n] += 1
        softness[n] += weights[m] * units[m] * units[m]
        for r in range(rates + 1):
            columns[n, cash + r] += weights[m] * units[m] * rows[m, r]
    for n in range(len(softness)):
        if softness[n] > 0.0:
            for k in range(cash):
                columns[n, k] = by_asset[n, k]
            for r in range(rates + 1):
                columns[n, cash + r] /= softness[n]
    for m in range(count):
        n = assets[m]
        if ways[n] > 1 or softness[n] == 0.0:
            for r in range(rates + 1):
                rows[m, r] -= units[m] * columns[n, cash + r]
            for r in range(rates + 1):
                for c in range(rates + 1):
                    own[cash + r, cash + c] += weights[m] * rows[m, r] * rows[m, c]


@compiled("i <- I i i F I")
def _answering(assets: IntArray, begin: int, size: int, softness: FloatArray, place: IntArray) -> int:
    """Fill (size,) positions of the assets of a link that answer; return how many there are."""
    members = 0
    for i in range(size):
        if softness[assets[begin + i]] > 0.0:
            place[members] = i
            members += 1
    return members


@compiled("void <- F i i i F2 i")
def _factorise(lower: FloatArray, entry: int, size: int, members: int, solved: FloatArray, first: int) -> None:
    """Factorise one link's M in its place and apply the factor's inverse to the rows of right-hand sides.

    Args:
        lower: M row after row from ``entry`` on, its lower triangle; replaced by the factor with its diagonal inverted.
        entry: Where it begins.
        size: Length of its rows.
        members: How many rows it has.
        solved: Right-hand sides, a row for each asset; replaced.
        first: Row of the first asset.
    """
    width = solved.shape[1]
    multiples = np.empty(members)
    # columns of the factor from left to right, the rows below and the right-hand sides with them
    for a in range(members):
        pivot = 1.0 / np.sqrt(lower[entry + a * size + a])
        lower[entry + a * size + a] = pivot
        for c in range(width):
            solved[first + a, c] *= pivot
        for b in range(a + 1, members):
            multiples[b] = lower[entry + b * size + a] * pivot
            lower[entry + b * size + a] = multiples[b]
        for b in range(a + 1, members):
            factor, below = multiples[b], entry + b * size
            for d in range(a + 1, b + 1):
                lower[below + d] -= factor * multiples[d]
            for c in range(width):
                solved[first + b, c] -= factor * solved[first + a, c]


@compiled("void <- F f f i I I F F F F F2 F2 F F F F2 I")
def eliminate(
    prices: FloatArray,
    risk_aversion: float,
    te_max: float,
    factors: int,
    sizes: IntArray,
    assets: IntArray,
    remainders: FloatArray,
    columns_of_roots: FloatArray,
    missing: FloatArray,
    softness: FloatArray,
    columns: FloatArray,
    matrix: FloatArray,
    right: FloatArray,
    lower: FloatArray,
    pull: FloatArray,
    solved: FloatArray,
    free: IntArray,
) -> None:
    """Add the assets' answers to the Hessian, those of linked assets through M, and subtract them from the right side.

    Args:
        prices: (size,) prices; linked exposures behind K factors, lambda last.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        factors: K.
        sizes: (links,) how many assets each link joins.
        assets: (L,) these assets, link after link.
        remainders: (sum of the sizes squared,) R of each link, row after row.
        columns_of_roots: (sum of the sizes squared,) the links' square roots, column after column.
        missing: (L,) gradient of the linked exposures' prices.
        softness: (N,) as of ``answers_of_assets``; zero for what does not answer.
        columns: (N, C)
        matrix: (C, C) what is known of the Hessian, its own parts; added to.
        right: (C,) gradient of the other prices; changed to the right-hand side of their system.
        lower: (sum of the sizes squared,) filled with the factor of each link's M.
        pull: (L,) zeros; filled with what the missing exposures pull at each asset.
        solved: (L, C + 1) filled with the factor's inverse times columns and pull, for the assets that answer.
        free: (L,) filled with the assets that answer, link after link, then -1.
    """
    width = len(right)
    risk_price = prices[len(prices) - 1]
    twice = 2.0 * (risk_aversion + risk_price)
    linked = np.zeros(len(softness), dtype=np.bool_)
    for asset in assets:
        linked[asset] = True
    for n in range(len(softness)):
        weight = softness[n]
        if weight > 0.0 and not linked[n]:
            for c in range(width):
                part = weight * columns[n, c]
                for d in range(c + 1):
                    matrix[c, d] += part * columns[n, d]
    free[:] = -1
    begin = entry = count = 0
    for size in sizes:
        # what the links' prices charge along the active variance, and what is missing of them
        slope = np.zeros(size)
        for j in range(size):
            price, lacking, at = prices[factors + begin + j], missing[begin + j], entry + j * size
            for i in range(j, size):
                slope[i] += columns_of_roots[at + i] * price
            for i in range(j, size):
                pull[begin + i] += columns_of_roots[at + i] * lacking
        place = np.empty(size, dtype=np.int64)
        members = _answering(assets, begin, size, softness, place)
        for a in range(members):
            i = place[a]
            n = assets[begin + i]
            row, source = entry + a * size, entry + i * size
            for b in range(a):
                lower[row + b] = remainders[source + place[b]]
            lower[row + a] = remainders[source + i] + 1.0 / (twice * softness[n])
            free[count + a] = n
            for c in range(width):
                solved[count + a, c] = columns[n, c]
            if te_max < np.inf:
                solved[count + a, width - 1] += 2.0 * slope[i] / twice
            solved[count + a, width] = pull[begin + i]
        _factorise(lower, entry, size, members, solved, count)
        for a in range(count, count + members):
            for c in range(width):
                part = solved[a, c] / twice
                for d in range(c + 1):
                    matrix[c, d] += part * solved[a, d]
                right[c] -= solved[a, c] * solved[a, width]
        begin, entry, count = begin + size, entry + size * size, count + members
    squares = 0.0
    for k in range(factors):
        z = prices[k] / twice
        squares += z * z
        matrix[k, k] += 1.0 / twice
        if te_max < np.inf:
            matrix[width - 1, k] -= 2.0 * z / twice
    if te_max < np.inf:
        matrix[width - 1, width - 1] += 4.0 * squares / twice
        for i in range(len(assets)):
            right[width - 1] += 2.0 * prices[factors + i] * missing[i] / twice
    for c in range(width):
        for d in range(c):
            matrix[d, c] = matrix[c, d]


@compiled("F <- F f i I I F F F F2 I F")
def linked_step(
    prices: FloatArray,
    risk_aversion: float,
    factors: int,
    sizes: IntArray,
    assets: IntArray,
    roots: FloatArray,
    missing: FloatArray,
    lower: FloatArray,
    solved: FloatArray,
    free: IntArray,
    rest: FloatArray,
) -> FloatArray:
    """Return the (size,) step of all prices, given that of the prices besides the links.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        factors: K.
        sizes: (links,) how many assets each link joins.
        assets: (L,) these assets, link after link.
        roots: (sum of the sizes squared,) the links' square roots, row after row.
        missing: (L,) gradient of the linked exposures' prices.
        lower: As ``eliminate`` filled it, and the next ones.
        solved: (L, C + 1)
        free: (L,)
        rest: (C,) step of the other prices.
    """
    width, links = len(rest), len(assets)
    twice = 2.0 * (risk_aversion + prices[len(prices) - 1])
    step = np.empty(len(prices))
    step[:factors] = rest[:factors]
    step[factors + links :] = rest[factors:]
    stretched = 2.0 * rest[width - 1] / twice
    for i in range(links):
        step[factors + i] = twice * missing[i] + stretched * prices[factors + i]
    begin = entry = count = 0
    for size in sizes:
        place = np.empty(size, dtype=np.int64)
        members = 0
        for i in range(size):
            if count + members < links and free[count + members] == assets[begin + i]:
                place[members] = i
                members += 1
        answered = np.empty(members)
        for a in range(members):
            answered[a] = twice * solved[count + a, width]
            for c in range(width):
                answered[a] += solved[count + a, c] * rest[c]
        for a in range(members - 1, -1, -1):
            row = entry + a * size
            answered[a] *= lower[row + a]
            for b in range(a):
                answered[b] -= lower[row + b] * answered[a]
        for a in range(members):
            i = place[a]
            row = entry + i * size
            for j in range(i + 1):
                step[factors + begin + j] -= roots[row + j] * answered[a]
        begin, entry, count = begin + size, entry + size * size, count + members
    return step
