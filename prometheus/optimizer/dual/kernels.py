"""Compiled loops of the structured solver: one evaluation of the dual, from prices to conditions.

Plain loops over branches in a fixed order, all in one module because a loop calls no loop of another module
(compiled.py). Callers check the shapes. Source: docs/specs/optimizer.md.
"""

import numpy as np

from prometheus.optimizer.compiled import compiled
from prometheus.optimizer.problem.rebalance_problem import BoolArray, FloatArray, IntArray

#: Columns of the table of pieces; the rates of the rows besides cash follow behind the one of cash, then their offsets.
LEFT, RIGHT, SLOPE, OFFSET, RATE = range(5)
#: Rows of the branches' integers: first and last piece, asset.
FIRST, LAST, OWNER = range(3)
#: Rows of the branches' floats: active weight before trading, curvature, specific variance under a tracking-error limit
#: (zero without one).
ACTIVE, CURVATURE, VARIANCE = range(3)
#: How the branches of an asset are mixed: as given, the best one takes all, between the two best around a centre, or
#: among all of them around a centre.
GIVEN, BEST, CENTRED, SPREAD = range(4)


@compiled("F <- F2 I I F i F")
def charge(
    by_exposure: FloatArray, sizes: IntArray, assets: IntArray, columns: FloatArray, linear: int, prices: FloatArray
) -> FloatArray:
    """Return (N,) what the prices of exposures and linear rows charge for a unit of each asset.

    Args:
        by_exposure: (K + linear, N) exposures above linear rows.
        sizes: (links,) how many assets each link joins.
        assets: (L,) these assets, link after link.
        columns: (sum of the sizes squared,) the links' lower triangular square roots, column after column.
        linear: How many rows are linear.
        prices: (K + L + linear or more,) of exposures, linked exposures and linear rows.
    """
    charged = np.zeros(by_exposure.shape[1])
    dense = len(by_exposure) - linear
    for k in range(len(by_exposure)):
        price = prices[k if k < dense else k + len(assets)]
        for n in range(len(charged)):
            charged[n] += price * by_exposure[k, n]
    begin = entry = 0
    for size in sizes:
        of_link = np.zeros(size)
        for j in range(size):
            price = prices[dense + begin + j]
            for i in range(j, size):
                of_link[i] += columns[entry + i] * price
            entry += size
        for i in range(size):
            charged[assets[begin + i]] += of_link[i]
        begin += size
    return charged


@compiled("F <- F2 I I F i F")
def total(
    by_asset: FloatArray, sizes: IntArray, assets: IntArray, roots: FloatArray, linear: int, weights: FloatArray
) -> FloatArray:
    """Return (K + L + linear,) exposures, linked exposures and linear rows' use of (N,) weights.

    ``by_asset`` is (N, K + linear), ``roots`` has the links' square roots row after row, the rest is as of ``charge``.
    """
    dense, linked = by_asset.shape[1] - linear, len(assets)
    added = np.zeros(by_asset.shape[1])
    for n in range(len(weights)):
        weight = weights[n]
        if weight != 0.0:
            for k in range(len(added)):
                added[k] += weight * by_asset[n, k]
    if linked == 0:
        return added
    every = np.zeros(dense + linked + linear)
    every[:dense], every[dense + linked :] = added[:dense], added[dense:]
    begin = entry = 0
    for size in sizes:
        for i in range(size):
            weight = weights[assets[begin + i]]
            if weight != 0.0:
                for j in range(i + 1):
                    every[dense + begin + j] += roots[entry + j] * weight
            entry += size
        begin += size
    return every


@compiled("f <- F F2 i")
def _slope(prices: FloatArray, table: FloatArray, piece: int) -> float:
    """Return the slope of a piece with what cash and the other rows charge at their prices."""
    slope: float = table[piece, SLOPE]
    for r in range(len(prices)):
        slope += prices[r] * table[piece, RATE + r]
    return slope


@compiled("void <- F f F F2 I2 F2 I F B F F2 F2")
def answer(
    prices: FloatArray,
    stretch: float,
    own: FloatArray,
    table: FloatArray,
    places: IntArray,
    branches: FloatArray,
    at: IntArray,
    trade: FloatArray,
    inside: BoolArray,
    worth: FloatArray,
    rate: FloatArray,
    use: FloatArray,
) -> None:
    """Let every branch answer: from the piece it is on to the one where its priced cost is least.

    Args:
        prices: (1 + other rows,) of cash and the rows behind it.
        stretch: 1 + lambda / g.
        own: (N,) what exposures and linear rows charge.
        table: (P, columns) pieces.
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        at: (B,) pieces to look at first; replaced by those of the answers.
        trade: (B,) filled, as the others.
        inside: (B,)
        worth: (B,)
        rate: (1 + other rows, B)
        use: (1 + other rows, B)
    """
    rates = len(prices)
    for b in range(len(at)):
        p, first, last = at[b], places[FIRST, b], places[LAST, b]
        active, curvature, charged = branches[ACTIVE, b], branches[CURVATURE, b] * stretch, own[places[OWNER, b]]
        softness = 0.5 / curvature
        slope = charged + _slope(prices, table, p)
        wish = -slope * softness - active
        if wish > table[p, RIGHT]:
            while p < last:
                next_slope = charged + _slope(prices, table, p + 1)
                next_wish = -next_slope * softness - active
                if not next_wish > table[p + 1, LEFT]:
                    break
                p, slope, wish = p + 1, next_slope, next_wish
                if not wish > table[p, RIGHT]:
                    break
        elif wish < table[p, LEFT]:
            while p > first:
                next_slope = charged + _slope(prices, table, p - 1)
                next_wish = -next_slope * softness - active
                if not next_wish < table[p - 1, RIGHT]:
                    break
                p, slope, wish = p - 1, next_slope, next_wish
                if not wish < table[p, LEFT]:
                    break
        low, high = table[p, LEFT], table[p, RIGHT]
        at[b] = p
        inside[b] = low < wish < high
        u = wish
        u = max(u, low)
        u = min(u, high)
        moved = active + u
        cost = curvature * moved * moved + slope * u + table[p, OFFSET]
        rate[0, b] = table[p, RATE]
        use[0, b] = table[p, RATE] * u
        for r in range(1, rates):
            level = table[p, RATE + rates - 1 + r]
            rate[r, b] = table[p, RATE + r]
            use[r, b] = table[p, RATE + r] * u + level
            cost += prices[r] * level
        trade[b] = u
        worth[b] = cost


@compiled("f f <- F F f i i i F")
def spread_asset(
    worth: FloatArray, centre: FloatArray, epsilon: float, opened: int, begin: int, end: int, mixing: FloatArray
) -> tuple[float, float]:
    """Mix all branches of one asset; return its proximal term and its looseness.

    The proximal term is epsilon / 4 times the squared distance of the mixing weights from the centre, which for two
    branches is that of ``mix_branches``. Whatever branches meet, the dual stays continuous with its slope.

    Args:
        worth: (B,) least priced costs.
        centre: (B,) shares at the centre.
        epsilon: Strength.
        opened: 1 where the mixing weights of the branches in use at the centre may leave the range from 0 to 1, else 0.
        begin: First branch of the asset.
        end: Behind its last one.
        mixing: (B,) filled for the asset.
    """
    least = worth[begin]
    for b in range(begin + 1, end):
        least = min(least, worth[b])
    # zero marks what is not in use
    for b in range(begin, end):
        mixing[b] = 0.0 if opened == 1 and centre[b] == 0.0 else 1.0
    used, excess = 1, 0.0
    # every round but the last drops a branch
    for _ in range(end - begin + 1):
        total, used = 0.0, 0
        for b in range(begin, end):
            if mixing[b] != 0.0:
                total += centre[b] - 2.0 * (worth[b] - least) / epsilon
                used += 1
        excess, dropped = (total - 1.0) / used, 0
        for b in range(begin, end):
            if mixing[b] != 0.0 and opened == 0 and centre[b] - 2.0 * (worth[b] - least) / epsilon < excess:
                mixing[b], dropped = 0.0, dropped + 1
        if dropped == 0:
            break
    proximal = looseness = 0.0
    for b in range(begin, end):
        if mixing[b] != 0.0:
            mixing[b] = 1.0 if used == 1 else centre[b] - 2.0 * (worth[b] - least) / epsilon - excess
            looseness += mixing[b] * (worth[b] - least)
        proximal += 0.25 * epsilon * (mixing[b] - centre[b]) * (mixing[b] - centre[b])
    return proximal, looseness


@compiled("f f <- i F I I F F B F I I")
def mix_branches(
    mode: int,
    worth: FloatArray,
    first_branch: IntArray,
    several: IntArray,
    centre: FloatArray,
    epsilon: FloatArray,
    opened: BoolArray,
    mixing: FloatArray,
    left: IntArray,
    right: IntArray,
) -> tuple[float, float]:
    """Mix the two cheapest branches of each asset that has several; return proximal terms and looseness.

    Args:
        mode: BEST, CENTRED, or SPREAD, which mixes all branches of assets that have three or more.
        worth: (B,) least priced costs.
        first_branch: (N + 1,) first branch of each asset, and how many branches there are.
        several: (M,) the assets.
        centre: (B,) shares at the centre; empty for BEST.
        epsilon: (M,) strength of their proximal terms; empty for BEST.
        opened: (M,) True where mixing weights may leave the range from 0 to 1; empty for nowhere.
        mixing: (B,) ones; filled.
        left: (M,) filled with the left one of the two branches.
        right: (M,) filled with the right one.
    """
    proximal = looseness = 0.0
    for m in range(len(several)):
        begin, end = first_branch[several[m]], first_branch[several[m] + 1]
        best, second = begin, -1
        for b in range(begin + 1, end):
            if worth[b] < worth[best]:
                best, second = b, best
            elif second < 0 or worth[b] < worth[second]:
                second = b
        if mode == SPREAD and end - begin > 2:
            is_open = 1 if len(opened) and opened[m] else 0
            moved, loose = spread_asset(worth, centre, epsilon[m], is_open, begin, end, mixing)
            proximal, looseness = proximal + moved, looseness + loose
            # the two with the largest mixing weights
            most = begin
            for b in range(begin + 1, end):
                if mixing[b] > mixing[most]:
                    most = b
            next_most = -1
            for b in range(begin, end):
                if b != most and mixing[b] != 0.0 and (next_most < 0 or mixing[b] > mixing[next_most]):
                    next_most = b
            if next_most < 0:
                next_most = second if most == best else best
            left[m], right[m] = min(most, next_most), max(most, next_most)
            continue
        near, far = min(best, second), max(best, second)
        left[m], right[m] = near, far
        for b in range(begin, end):
            mixing[b] = 0.0
        dearer = worth[far] - worth[near]
        if mode == BEST:
            t = 1.0 if dearer < 0 else 0.0
        else:
            kept = centre[far]
            both = centre[near] + kept
            if both > 0:
                kept /= both
            else:
                kept = 1.0 if dearer < 0 else 0.0
            t = kept - dearer / epsilon[m]
            if not (len(opened) and opened[m]):
                t = min(max(t, 0.0), 1.0)
            proximal += 0.5 * epsilon[m] * (t - kept) * (t - kept)
        looseness += t * dearer - min(dearer, 0.0)
        mixing[near], mixing[far] = 1.0 - t, t
    return proximal, looseness


@compiled("f f <- I2 F2 F F F F2 F F")
def mix(
    places: IntArray,
    branches: FloatArray,
    mixing: FloatArray,
    trade: FloatArray,
    worth: FloatArray,
    use: FloatArray,
    net: FloatArray,
    used: FloatArray,
) -> tuple[float, float]:
    """Sum the mixed answers; return their priced cost and their specific variance.

    Args:
        places: (3, B) FIRST, LAST, OWNER.
        branches: (3, B) ACTIVE, CURVATURE, VARIANCE.
        mixing: (B,) mixing weight of each branch.
        trade: (B,) answers.
        worth: (B,) their priced costs.
        use: (1 + other rows, B) what they add to cash and the other rows.
        net: (N,) zeros; filled with the assets' trades.
        used: (1 + other rows,) zeros; filled.
    """
    cost = variance = 0.0
    for b in range(len(mixing)):
        part = mixing[b]
        if part != 0.0:
            net[places[OWNER, b]] += part * trade[b]
            cost += part * worth[b]
            moved = branches[ACTIVE, b] + trade[b]
            variance += part * branches[VARIANCE, b] * moved * moved
            for r in range(len(used)):
                used[r] += part * use[r, b]
    return cost, variance


@compiled("f f <- F f f F F F F F f f F B")
def judge(
    prices: FloatArray,
    risk_aversion: float,
    te_max: float,
    at_rest: FloatArray,
    least: FloatArray,
    most: FloatArray,
    sums: FloatArray,
    used: FloatArray,
    cost: float,
    variance: float,
    gradient: FloatArray,
    active: BoolArray,
) -> tuple[float, float]:
    """Return the dual value and the largest active condition missed.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        at_rest: (K,) exposures before trading.
        least: (R + 1,) least use of linear rows, cash, other rows.
        most: (R + 1,) greatest use.
        sums: (K + linear,) exposures and linear rows' use of the trades.
        used: (1 + other rows,) the other rows' use.
        cost: Priced cost of the trades, proximal terms included.
        variance: Their specific variance.
        gradient: (size,) filled with what is missing in each condition.
        active: (size,) filled: False for prices that rest at zero and for limits that are not there.
    """
    factors, linear, size = len(at_rest), len(sums) - len(at_rest), len(prices)
    risk_price = prices[size - 1]
    twice = 2.0 * (risk_aversion + risk_price)
    value, squares = cost, 0.0
    for k in range(factors):
        z = prices[k] / twice
        value += 0.5 * twice * (2.0 * at_rest[k] - z) * z
        squares += z * z
        gradient[k] = at_rest[k] + sums[k] - z
        active[k] = True
    for r in range(len(most)):
        i, price = factors + r, prices[factors + r]
        use = sums[i] if r < linear else used[r - linear]
        over, short = use - most[r], use - least[r]
        is_exact = least[r] == most[r]
        broken = over if over > 0 else short if short < 0 else 0.0
        gradient[i] = over if is_exact or price > 0 else short if price < 0 else broken
        active[i] = is_exact or price != 0 or broken != 0
        if price != 0:
            value -= price * (most[r] if price > 0 else least[r])
    gradient[size - 1], active[size - 1] = 0.0, False
    if te_max < np.inf:
        missing = squares + variance - te_max * te_max
        value -= risk_price * te_max * te_max
        gradient[size - 1], active[size - 1] = missing, risk_price > 0 or missing > 0
    residual = 0.0
    for i in range(size):
        # NaN stays
        if active[i] and not abs(gradient[i]) <= residual and residual == residual:  # noqa: PLR0124 -- NaN stays NaN
            residual = abs(gradient[i])
    return value, residual


@compiled("f f f <- F f f F2 F2 I I F F i F F F F2 I2 F2 I I i F F B I F F2 F2 B I2 F B")
def evaluate(
    prices: FloatArray,
    risk_aversion: float,
    te_max: float,
    by_exposure: FloatArray,
    by_asset: FloatArray,
    sizes: IntArray,
    assets: IntArray,
    roots: FloatArray,
    columns: FloatArray,
    linear: int,
    at_rest: FloatArray,
    least: FloatArray,
    most: FloatArray,
    table: FloatArray,
    places: IntArray,
    branches: FloatArray,
    first_branch: IntArray,
    several: IntArray,
    mode: int,
    centre: FloatArray,
    epsilon: FloatArray,
    opened: BoolArray,
    at: IntArray,
    mixing: FloatArray,
    answers: FloatArray,
    rows: FloatArray,
    inside: BoolArray,
    ends: IntArray,
    gradient: FloatArray,
    active: BoolArray,
) -> tuple[float, float, float]:
    """Evaluate the dual; return its value, the looseness of the mixture and the largest active condition missed.

    Args:
        prices: (size,) prices.
        risk_aversion: g.
        te_max: Largest tracking error; infinite for none.
        by_exposure: As ``charge`` takes it, and the next ones.
        by_asset: Its transpose.
        sizes: (links,)
        assets: (L,)
        roots: (entries,)
        columns: (entries,)
        linear: How many rows are linear.
        at_rest: As ``judge`` takes it, and the next ones.
        least: (R + 1,)
        most: (R + 1,)
        table: As ``answer`` takes it, and the next ones.
        places: (3, B)
        branches: (3, B)
        first_branch: As ``mix_branches`` takes it, and the next ones.
        several: (M,)
        mode: GIVEN, BEST or CENTRED.
        centre: (B,) or empty.
        epsilon: (M,) or empty.
        opened: (M,) or empty.
        at: (B,) pieces to look at first; replaced by those of the answers.
        mixing: (B,) mixing weights; filled but for GIVEN.
        answers: (2, B) filled with answers and their priced costs.
        rows: (2 (1 + other rows), B) filled with rates, then use.
        inside: (B,) filled with whether the answers lie inside their pieces.
        ends: (2, M) filled but for GIVEN with the left and right one of each asset's two best branches.
        gradient: As ``judge`` fills it.
        active: (size,)
    """
    rates, size = len(rows) // 2, len(prices)
    own = charge(by_exposure, sizes, assets, columns, linear, prices)
    trade, worth, rate, use = answers[0], answers[1], rows[:rates], rows[rates:]
    charged, stretch = prices[size - 1 - rates : size - 1], 1.0 + prices[size - 1] / risk_aversion
    answer(charged, stretch, own, table, places, branches, at, trade, inside, worth, rate, use)
    proximal = looseness = 0.0
    if mode != GIVEN:
        mixing[:] = 1.0
        proximal, looseness = mix_branches(
            mode, worth, first_branch, several, centre, epsilon, opened, mixing, ends[0], ends[1]
        )
    net, used = np.zeros(len(first_branch) - 1), np.zeros(rates)
    cost, variance = mix(places, branches, mixing, trade, worth, use, net, used)
    sums = total(by_asset, sizes, assets, roots, linear, net)
    value, residual = judge(
        prices, risk_aversion, te_max, at_rest, least, most, sums, used, proximal + cost, variance, gradient, active
    )
    return value, looseness, residual
