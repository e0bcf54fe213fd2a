"""The true problem as a mixed-integer program for SCIP: one binary for each name's side and for each group's."""

import time

import numpy as np
from pyscipopt import Model, quicksum


def scip_objective(whole, seconds):
    """Return SCIP's best objective, its bound, and the time it took.

    Valid where the lot order has rising marginal tax (least tax first): then lots fill in order by themselves.
    """
    cost, limits, order = whole.cost, whole.limits, whole.cost.order
    n = len(cost.curvature)
    model = Model()
    model.hideOutput()
    model.setParam("limits/time", seconds)
    model.setParam("limits/absgap", 1e-8)
    model.setParam("numerics/feastol", 1e-9)
    model.setParam("parallel/maxnthreads", 1)
    buys = [model.addVar(lb=0.0, ub=max(float(limits.high[i]), 0.0)) for i in range(n)]
    sells = [model.addVar(lb=0.0, ub=float(size)) for size in order.size]
    is_buy = [model.addVar(vtype="B") for _ in range(n)]
    group_sells_loss = {g: model.addVar(vtype="B") for g in sorted({int(x) for x in limits.group if x >= 0})}
    mine = [[j for j in range(len(sells)) if order.asset[j] == i] for i in range(n)]
    trades = [buys[i] - quicksum(sells[j] for j in mine[i]) for i in range(n)]
    for i in range(n):
        model.addCons(trades[i] >= float(limits.low[i]))
        model.addCons(trades[i] <= float(limits.high[i]))
        model.addCons(buys[i] <= max(float(limits.high[i]), 0.0) * is_buy[i])
        for j in mine[i]:
            model.addCons(sells[j] <= float(order.size[j]) * (1 - is_buy[i]))
        group = int(limits.group[i])
        if group >= 0:
            loses = group_sells_loss[group]
            model.addCons(buys[i] <= max(float(limits.high[i]), 0.0) * (1 - loses))
            for j in mine[i]:
                if order.start[j] >= order.loss_start[i]:
                    model.addCons(sells[j] <= float(order.size[j]) * loses)
    sold = quicksum(sells)
    rate = whole.cost_rate
    used = quicksum((1 + float(rate[i])) * buys[i] for i in range(n)) - sold
    used += quicksum(float(rate[order.asset[j]]) * sells[j] for j in range(len(sells)))
    model.addCons(used <= whole.cash.most)
    model.addCons(used >= whole.cash.least)
    active = [float(cost.active[i]) + trades[i] for i in range(n)]
    risk = model.addVar(lb=0.0)
    loadings = whole.risk.loadings
    y = []
    for k in range(loadings.shape[1]):
        y.append(model.addVar(lb=None))
        model.addCons(y[k] == quicksum(float(loadings[i, k]) * active[i] for i in range(n)))
    w = []
    for i in range(n):
        w.append(model.addVar(lb=None))
        model.addCons(w[i] == active[i])
    quadratic = quicksum(whole.risk_aversion * v * v for v in y)
    quadratic += quicksum(float(cost.curvature[i]) * w[i] * w[i] for i in range(n))
    model.addCons(quadratic <= risk)
    linear = quicksum(float(cost.buy_slope[i]) * buys[i] for i in range(n))
    linear += quicksum(float(cost.sell_slope[j]) * sells[j] for j in range(len(sells)))
    model.setObjective(risk + linear, "minimize")
    began = time.perf_counter()
    model.optimize()
    took = time.perf_counter() - began
    if not model.getNSols():
        return float("nan"), model.getDualbound(), took
    # the solver's own value is short by its feasibility tolerance on the quadratic row
    found = np.array([model.getVal(buys[i]) - sum(model.getVal(sells[j]) for j in mine[i]) for i in range(n)])
    return whole.objective(np.clip(found, limits.low, limits.high)), model.getDualbound(), took
