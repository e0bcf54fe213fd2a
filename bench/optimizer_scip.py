"""The true problem as a mixed-integer program for SCIP, stated from the problem's own fields.

One binary for each asset's side and one for each group: whether it sells a loss; where an order has a cost, another one
for each asset's sale. None of the optimizer's code is used.
"""

import time
from dataclasses import dataclass

import numpy as np
from pyscipopt import Model, quicksum


@dataclass(frozen=True)
class ScipAnswer:
    """What SCIP found.

    Attributes:
        objective: Of its best trades, computed again from them; NaN where it found none.
        bound: Its own lower bound.
        proven: Whether it says that nothing is better.
        seconds: Time it took.
    """

    objective: float
    bound: float
    proven: bool
    seconds: float


def solve_by_scip(problem, seconds):
    """Solve a least-tax-first problem without coupling limits, before rounding.

    Args:
        problem: The problem; the marginal tax of its lots must rise in selling order, for then they fill in order.
        seconds: Time limit.
    """
    n, g = problem.size, problem.risk_aversion
    held, k = problem.holdings(), problem.cost_rate
    lots = [_selling_order(problem, i) for i in range(n)]
    model = Model()
    model.hideOutput()
    model.setParam("limits/time", seconds)
    model.setParam("limits/absgap", 1e-6)
    model.setParam("numerics/feastol", 1e-9)
    model.setParam("parallel/maxnthreads", 1)
    slack = np.where(problem.can_buy, np.maximum(problem.upper - held, 0.0), 0.0)
    buys = [model.addVar(lb=0.0, ub=float(slack[i])) for i in range(n)]
    is_buy = [model.addVar(vtype="B") for _ in range(n)]
    is_sale = [model.addVar(vtype="B") for _ in range(n)] if problem.order_cost else []
    loses = {label: model.addVar(vtype="B") for label in np.unique(problem.group).tolist()}
    sells = {j: model.addVar(lb=0.0, ub=float(problem.lot_weight[j])) for i in range(n) for j in lots[i]}
    active = []
    for i in range(n):
        group_loses = loses[int(problem.group[i])]
        model.addCons(buys[i] <= float(slack[i]) * is_buy[i])
        model.addCons(buys[i] <= float(slack[i]) * (1 - group_loses))
        harmful = False
        for j in lots[i]:
            model.addCons(sells[j] <= float(problem.lot_weight[j]) * (1 - is_buy[i]))
            if is_sale:
                model.addCons(sells[j] <= float(problem.lot_weight[j]) * is_sale[i])
            harmful = harmful or bool(problem.lot_is_loss[j])
            if harmful:
                # neither a loss nor what the lot order puts behind one
                model.addCons(sells[j] <= float(problem.lot_weight[j]) * group_loses)
        after = model.addVar(lb=None)
        model.addCons(after == float(held[i]) + buys[i] - quicksum(sells[j] for j in lots[i]))
        model.addCons(after >= float(problem.lower[i]))
        model.addCons(after <= float(problem.upper[i]))
        away = model.addVar(lb=None)
        model.addCons(away == after - float(problem.benchmark_weights[i]))
        active.append(away)
    owner = {j: i for i in range(n) for j in lots[i]}
    volume = quicksum(float(k[i]) * buys[i] for i in range(n)) + quicksum(
        float(k[owner[j]]) * sell for j, sell in sells.items()
    )
    cash = problem.cash - quicksum(buys) + quicksum(sells.values()) - volume
    model.addCons(cash >= problem.cash_min)
    model.addCons(cash <= problem.cash_max)
    root = problem.loadings @ np.linalg.cholesky(problem.factor_covariance)
    exposures = []
    for column in root.T:
        exposures.append(model.addVar(lb=None))
        model.addCons(exposures[-1] == quicksum(float(column[i]) * active[i] for i in range(n)))
    risk = model.addVar(lb=0.0)
    variance = quicksum(y * y for y in exposures)
    variance += quicksum(float(problem.specific_variance[i]) * active[i] * active[i] for i in range(n))
    model.addCons(g * variance <= risk)
    tax = quicksum(problem.tax_weight * float(problem.lot_tax[j]) * sell for j, sell in sells.items())
    tilt = quicksum(float(problem.tilt[i]) * (active[i] + float(problem.benchmark_weights[i])) for i in range(n))
    orders = quicksum(problem.order_cost * (is_buy[i] + is_sale[i]) for i in range(n)) if is_sale else 0.0
    model.setObjective(risk + volume + tax - tilt + orders, "minimize")
    began = time.perf_counter()
    model.optimize()
    took = time.perf_counter() - began
    if not model.getNSols():
        return ScipAnswer(float("nan"), model.getDualbound(), proven=False, seconds=took)
    # its own value is short by its feasibility tolerance on the quadratic row
    sold = {j: max(model.getVal(sell), 0.0) for j, sell in sells.items()}
    trades = np.array([max(model.getVal(buys[i]), 0.0) - sum(sold[j] for j in lots[i]) for i in range(n)])
    placed = sum(round(model.getVal(one)) for one in (*is_buy, *is_sale)) if is_sale else 0
    away = held + trades - problem.benchmark_weights
    y = root.T @ away
    objective = g * float(y @ y + problem.specific_variance @ away**2)
    objective += float(k @ np.abs(trades)) - float(problem.tilt @ (held + trades))
    objective += problem.tax_weight * sum(float(problem.lot_tax[j]) * amount for j, amount in sold.items())
    objective += problem.order_cost * placed
    return ScipAnswer(
        objective, model.getDualbound(), proven=model.getStatus() in {"optimal", "gaplimit"}, seconds=took
    )


def _selling_order(problem, i):
    if not problem.can_sell[i]:
        return []
    mine = [j for j in np.flatnonzero(problem.lot_asset == i).tolist() if not problem.lot_locked[j]]
    mine.sort(key=lambda j: problem.lot_rank[j])
    if (np.diff(problem.lot_tax[mine]) < 0).any():
        raise ValueError(f"the marginal tax of {problem.tickers[i]} falls from lot to lot.")
    return mine
