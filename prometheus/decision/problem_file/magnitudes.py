"""Numbers that no account has: refused with their path, because sums and searches over them mean nothing.

Single numbers have their range in the schema. What follows is about numbers beside each other: shares of a price in
the whole account, a basis beside the account, loadings under a covariance. Every check takes a document that makes
sense otherwise.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np

from prometheus.decision.problem_file.defects import Defect, Location, defect
from prometheus.decision.problem_file.document import exact
from prometheus.domain.money import plain_text, share_step

#: Base currency a share.
_PRICES: Final = (Decimal("0.000001"), Decimal(10) ** 10)
#: Net asset values, base currency: beyond the greater one a float does not tell cents any more.
_NET_ASSET_VALUES: Final = (Decimal("0.01"), Decimal(10) ** 15)
#: Most shares that the account could buy, counted in steps: beyond that a float does not tell one step from the next.
_MOST_STEPS: Final = Decimal(10) ** 15
#: Most that an account may hold, times its net asset value; the rest is borrowed.
_MOST_HELD: Final = 1000
#: Largest basis and largest gain of the year, times the net asset value.
_LARGEST_BASIS: Final = 10**6
#: Largest basis of a lot, times its value.
_DEEPEST_LOSS: Final = 10**9
#: Largest annual borrow rate.
_BORROW_RATE: Final = 100
#: Largest annualised variance of a name's return from factors.
_FACTOR_VARIANCE: Final = 1e4


def net_asset_value(document: Mapping[str, Any]) -> Decimal:
    """Return cash plus every lot, less what is short, at its price; unknown tickers count as nothing."""
    price = {asset["ticker"]: exact(asset["price"]) for asset in document["assets"]}
    lots = (exact(lot["quantity"]) * price.get(lot["ticker"], Decimal(0)) for lot in document["lots"])
    shorts = (exact(one["quantity"]) * price.get(one["ticker"], Decimal(0)) for one in document.get("shorts", ()))
    return exact(document["cash"]) + sum(lots, Decimal(0)) - sum(shorts, Decimal(0))


def magnitude_defects(document: Mapping[str, Any]) -> Iterator[Defect]:
    """Return the numbers that are beyond what an account can have."""
    nav = net_asset_value(document)
    yield from _account(document, nav)
    yield from _prices(document, nav)
    yield from _factor_variances(document)
    yield from _bases(document, nav)


def _account(document: Mapping[str, Any], nav: Decimal) -> Iterator[Defect]:
    cash = exact(document["cash"])
    least, most = _NET_ASSET_VALUES
    if not least <= nav <= most:
        yield defect(
            ("cash",),
            document["cash"],
            f"with the lots makes a net asset value of {nav:.6g}; it must lie between {plain_text(least)} and "
            f"{plain_text(most)}.",
        )
    elif nav - cash > _MOST_HELD * nav:
        yield defect(
            ("cash",),
            document["cash"],
            f"leaves of lots worth {nav - cash:.6g} a net asset value of {nav:.6g}, less than a part in {_MOST_HELD} "
            "of them; correct cash, lots or prices.",
        )
    realized = exact(document.get("realized_this_year", 0))
    if abs(realized) > _LARGEST_BASIS * nav:
        yield defect(
            ("realized_this_year",),
            document["realized_this_year"],
            f"is more than {_LARGEST_BASIS} times the net asset value {nav:.6g}; correct it.",
        )


def _prices(document: Mapping[str, Any], nav: Decimal) -> Iterator[Defect]:
    least, most = _PRICES
    step = share_step(fractional=document["fractional_shares"])
    for i, asset in enumerate(document["assets"]):
        price, where = exact(asset["price"]), ("assets", i, "price")
        if not least <= price <= most:
            yield defect(
                where,
                asset["price"],
                f"is no price of a share; it must lie between {plain_text(least)} and {plain_text(most)}.",
            )
        elif nav > _MOST_STEPS * price * step:
            yield defect(
                where,
                asset["price"],
                f"is so low beside the net asset value {nav:.6g} that single steps of {plain_text(step)} shares cannot "
                "be told apart; correct the price, or leave the name out.",
            )
        if exact(asset.get("borrow_rate", 0)) > _BORROW_RATE:
            yield defect(
                ("assets", i, "borrow_rate"),
                asset["borrow_rate"],
                f"is more than {_BORROW_RATE} (10000 % a year); write a fraction, or leave it out where nobody lends.",
            )


def _factor_variances(document: Mapping[str, Any]) -> Iterator[Defect]:
    covariance = np.array([[float(x) for x in row] for row in document["factor_covariance"]])
    loadings = np.array([[float(x) for x in asset["loadings"]] for asset in document["assets"]])
    variance = np.einsum("ik,kl,il->i", loadings, covariance, loadings)
    for i in np.flatnonzero(~(variance <= _FACTOR_VARIANCE)):
        yield defect(
            ("assets", int(i), "loadings"),
            document["assets"][i]["loadings"],
            f"under factor_covariance make an annualised variance of {variance[i]:.3g}; more than "
            f"{_FACTOR_VARIANCE:g} is no return of a share: correct loadings or covariance.",
        )


def _bases(document: Mapping[str, Any], nav: Decimal) -> Iterator[Defect]:
    price = {asset["ticker"]: exact(asset["price"]) for asset in document["assets"]}
    for i, short in enumerate(document.get("shorts", ())):
        worth = exact(short["quantity"]) * price[short["ticker"]]
        if worth > _MOST_HELD * nav or exact(short["proceeds"]) > min(_LARGEST_BASIS * nav, _DEEPEST_LOSS * worth):
            reason = f"is no proceeds of shares worth {worth:.6g} in an account of {nav:.6g}; correct it."
            yield defect(("shorts", i, "proceeds"), short["proceeds"], reason)
    for i, lot in enumerate(document["lots"]):
        value = exact(lot["quantity"]) * price[lot["ticker"]]
        for name in ("adjusted_basis", "cost_basis"):
            where: Location = ("lots", i, name)
            basis = exact(lot.get(name, 0))
            if basis > _LARGEST_BASIS * nav:
                yield defect(
                    where, lot[name], f"is more than {_LARGEST_BASIS} times the net asset value {nav:.6g}; correct it."
                )
            elif basis > _DEEPEST_LOSS * value:
                yield defect(
                    where, lot[name], f"is more than {_DEEPEST_LOSS} times the lot's value {value:.6g}; correct it."
                )
