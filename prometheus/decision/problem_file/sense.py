"""What a schema cannot say: references, duplicates, dates in order, matrices that are covariances, sums that add up.

Every check takes a document that fits the schema and returns its defects.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prometheus.decision.problem_file.defects import Defect, Location, defect, json_path
from prometheus.decision.problem_file.document import exact
from prometheus.decision.problem_file.magnitudes import magnitude_defects, net_asset_value
from prometheus.decision.problem_file.schema import advice
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.domain.lots import Side
from prometheus.domain.strategy import StrategyParams
from prometheus.foundation.errors import ConfigurationError
from prometheus.optimizer.problem.specific_split import LEAST_EIGENVALUE

#: Account of a file that names none.
ANONYMOUS: Final = "PORTABLE"
_NAV_TOLERANCE: Final = Decimal("0.01")
_NAV_RELATIVE_TOLERANCE: Final = Decimal("1e-8")
#: What the weights of a benchmark may add up to. They are scaled to one, as the engine does where a constituent has
#: no price; outside this range they are no such weights (percentages, or half of the assets is missing).
_WEIGHT_SUMS: Final = (Decimal("0.5"), Decimal("1.01"))
#: Shares are booked with this many decimals.
_SHARE_DECIMALS: Final = 8
#: Largest asymmetry, and most negative eigenvalue, of a covariance, relative to its largest entry.
_SEMIDEFINITE_TOLERANCE: Final = 1e-9


def sense_defects(document: Mapping[str, Any]) -> tuple[Defect, ...]:
    """Return the defects that only the whole document shows, in its order."""
    defects = (
        *_assets(document),
        *_factor_covariance(document),
        *_correlation_blocks(document),
        *_lots(document),
        *_shorts(
            document.get("shorts", ()),
            document["lots"],
            {asset["ticker"] for asset in document["assets"]},
            document["as_of"],
        ),
        *_net_asset_value(document),
        *_recent_trades(document),
        *_last_whole(document),
        *_taxes(document),
        *_params(document.get("params", {})),
    )
    # magnitudes are compared with the net asset value and the covariance: these must make sense first
    return defects or tuple(magnitude_defects(document))


def _assets(document: Mapping[str, Any]) -> Iterator[Defect]:
    assets, as_of = document["assets"], document["as_of"]
    factors = len(document["factor_covariance"])
    yield from _repeated(assets, "assets", "ticker", "an asset")
    for i, asset in enumerate(assets):
        where: Location = ("assets", i)
        if asset.get("price_date", as_of) > as_of:
            yield defect(
                (*where, "price_date"), asset["price_date"], f"lies after as_of {as_of}; correct one of the two."
            )
        if len(asset["loadings"]) != factors:
            yield defect(
                (*where, "loadings"),
                asset["loadings"],
                f"has {len(asset['loadings'])} loadings for {factors} factors of factor_covariance; give one for each.",
            )
    total = sum((exact(asset["benchmark_weight"]) for asset in assets), Decimal(0))
    low, high = _WEIGHT_SUMS
    if not low <= total <= high:
        yield defect(
            ("assets",),
            assets,
            f"has benchmark weights that add up to {total:.6f}, not to one; give every constituent, as a fraction and "
            "not in percent.",
        )


def _factor_covariance(document: Mapping[str, Any]) -> Iterator[Defect]:
    yield from _matrix_defects(document["factor_covariance"], ("factor_covariance",), "covariance matrix")


def _correlation_blocks(document: Mapping[str, Any]) -> Iterator[Defect]:
    known = {asset["ticker"] for asset in document["assets"]}
    block_of: dict[str, int] = {}
    for b, block in enumerate(document.get("specific_correlation_blocks", ())):
        where: Location = ("specific_correlation_blocks", b)
        for j, ticker in enumerate(block["tickers"]):
            if ticker not in known:
                yield _unknown_ticker((*where, "tickers", j), ticker)
            if ticker in block_of:
                yield defect(
                    (*where, "tickers", j), ticker, f"is in block {block_of[ticker]} too; an asset is in one block."
                )
            block_of.setdefault(ticker, b)
        matrix, size = block["matrix"], len(block["tickers"])
        if len(matrix) != size:
            yield defect((*where, "matrix"), matrix, f"has {len(matrix)} rows for {size} tickers; give one for each.")
            continue
        defects = tuple(_matrix_defects(matrix, (*where, "matrix"), "correlation matrix"))
        yield from defects or _alike(matrix, (*where, "matrix"))
        for j, row in enumerate(matrix):
            if len(row) == size and row[j] != 1:
                yield defect((*where, "matrix", j, j), row[j], "the correlation of an asset with itself is 1; write 1.")


def _alike(rows: Sequence[Sequence[Any]], where: Location) -> Iterator[Defect]:
    least = float(np.linalg.eigvalsh([[float(x) for x in row] for row in rows])[0])
    if least < LEAST_EIGENVALUE:
        yield defect(
            where,
            rows,
            f"has a least eigenvalue of {least:.3g}; at least {LEAST_EIGENVALUE:g} is needed: write a correlation of "
            "0.999 for assets that are the same security.",
        )


def _matrix_defects(rows: Sequence[Sequence[Any]], where: Location, what: str) -> Iterator[Defect]:
    size = len(rows)
    ragged = [i for i, row in enumerate(rows) if len(row) != size]
    for i in ragged:
        yield defect((*where, i), rows[i], f"has {len(rows[i])} entries; a {what} of {size} rows has {size} in each.")
    if ragged:
        return
    matrix: NDArray[np.float64] = np.array([[float(x) for x in row] for row in rows])
    scale = float(np.abs(matrix).max())
    uneven = np.abs(matrix - matrix.T) > _SEMIDEFINITE_TOLERANCE * scale
    if uneven.any():
        i, j = (int(k) for k in np.argwhere(uneven)[0])
        yield defect(
            (*where, i, j), rows[i][j], f"differs from row {j}, column {i} ({matrix[j, i]:g}); a {what} is symmetric."
        )
        return
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least < -_SEMIDEFINITE_TOLERANCE * scale:
        yield defect(
            where,
            rows,
            f"is not positive semidefinite: its least eigenvalue is {least:.3g}, so some portfolio would have negative "
            f"variance; give a {what} estimated in one piece.",
        )


def _lots(document: Mapping[str, Any]) -> Iterator[Defect]:
    known, as_of = {asset["ticker"] for asset in document["assets"]}, document["as_of"]
    yield from _repeated(document["lots"], "lots", "lot_id", "a lot")
    for i, lot in enumerate(document["lots"]):
        where: Location = ("lots", i)
        if lot["ticker"] not in known:
            yield _unknown_ticker((*where, "ticker"), lot["ticker"])
        if lot["acquired_on"] > as_of:
            yield defect(
                (*where, "acquired_on"), lot["acquired_on"], f"lies after as_of {as_of}; correct one of the two."
            )
        if lot.get("holding_period_start", lot["acquired_on"]) > lot["acquired_on"]:
            yield defect(
                (*where, "holding_period_start"),
                lot["holding_period_start"],
                f"lies after acquired_on {lot['acquired_on']}; a holding period never starts later than the purchase.",
            )
        yield from _too_many_decimals(where, lot)


def _shorts(shorts: Sequence[Any], lots: Sequence[Any], known: AbstractSet[str], as_of: str) -> Iterator[Defect]:
    held, lot_ids = {lot["ticker"] for lot in lots}, {lot["lot_id"] for lot in lots}
    yield from _repeated(shorts, "shorts", "lot_id", "a short position")
    for i, short in enumerate(shorts):
        where: Location = ("shorts", i)
        if short["ticker"] not in known:
            yield _unknown_ticker((*where, "ticker"), short["ticker"])
        if short["lot_id"] in lot_ids:
            yield defect((*where, "lot_id"), short["lot_id"], "is a lot too; a short position has a name of its own.")
        if short["ticker"] in held:
            yield defect((*where, "ticker"), short["ticker"], "has lots too; close one of the two against the other.")
        if short["sold_on"] > as_of:
            yield defect((*where, "sold_on"), short["sold_on"], f"lies after as_of {as_of}; correct one of the two.")
        yield from _too_many_decimals(where, short)


def _too_many_decimals(where: Location, row: Mapping[str, Any]) -> Iterator[Defect]:
    exponent = exact(row["quantity"]).normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _SHARE_DECIMALS:
        yield defect(
            (*where, "quantity"),
            row["quantity"],
            f"has more than {_SHARE_DECIMALS} decimals; shares are booked with at most {_SHARE_DECIMALS}.",
        )


def _net_asset_value(document: Mapping[str, Any]) -> Iterator[Defect]:
    nav = net_asset_value(document)
    if nav <= 0:
        yield defect(
            ("cash",), document["cash"], f"with the lots makes a net asset value of {nav}; it must be positive."
        )
    if "nav" not in document:
        return
    stated = exact(document["nav"])
    if abs(stated - nav) > max(_NAV_TOLERANCE, _NAV_RELATIVE_TOLERANCE * abs(nav)):
        yield defect(
            ("nav",),
            document["nav"],
            f"is not what cash and the lots at their prices come to, {nav:f}, but {abs(stated - nav):f} away; "
            "correct nav, cash, lots or prices, or leave nav out.",
        )


def _recent_trades(document: Mapping[str, Any]) -> Iterator[Defect]:
    as_of = document["as_of"]
    group_of = {asset["ticker"]: asset.get("group", asset["ticker"]) for asset in document["assets"]}
    outside: dict[str, str] = {}
    for i, trade in enumerate(document["recent_trades"]):
        where: Location = ("recent_trades", i)
        if trade["date"] > as_of:
            yield defect((*where, "date"), trade["date"], f"lies after as_of {as_of}; a recent trade is a past one.")
        if trade.get("account") == document.get("account_id", ANONYMOUS):
            yield defect(
                (*where, "account"), trade["account"], "is the account of this file itself; leave it out of its trades."
            )
        if trade["side"] == Side.BUY and exact(trade.get("realized_gain", 0)) != 0:
            yield defect(
                (*where, "realized_gain"), trade["realized_gain"], "a purchase realises nothing; leave it out."
            )
        group = trade.get("group")
        if group is not None and group != group_of.get(trade["ticker"], group):
            yield defect(
                (*where, "group"), group, f"but asset {trade['ticker']} is of group {group_of[trade['ticker']]}; agree."
            )
        elif group is not None and group != outside.setdefault(trade["ticker"], group):
            yield defect(
                (*where, "group"), group, f"but {trade['ticker']} is of group {outside[trade['ticker']]} above; agree."
            )
        for name in ("unreplaced", "washed_quantity"):
            if exact(trade.get(name, 0)) > exact(trade["quantity"]):
                yield defect((*where, name), trade[name], "is more than the quantity; it counts some of those shares.")
        yield from _too_many_decimals(where, trade)
        if _may_wash_into_nowhere(document, trade):
            yield Defect(
                json_path((*where, "lot_id")),
                None,
                "is missing; under loss_sale_policy 'allow' a washed loss is booked into the lot that this purchase "
                "opened: name it, or set the policy to 'forbid'.",
            )


def _last_whole(document: Mapping[str, Any]) -> Iterator[Defect]:
    if document.get("last_whole", "") >= document["as_of"]:
        yield defect(
            ("last_whole",),
            document["last_whole"],
            f"is not before as_of {document['as_of']}; it is the day of the last whole rebalancing before this one.",
        )


def _may_wash_into_nowhere(document: Mapping[str, Any], trade: Mapping[str, Any]) -> bool:
    """Say whether a purchase of the account itself could wash a loss and names no lot to carry it."""
    allowed = document.get("params", {}).get("loss_sale_policy") == "allow"
    own_purchase = trade["side"] == Side.BUY and "account" not in trade
    return allowed and document["tax_regime"] == TaxRegime.US and own_purchase and "lot_id" not in trade


def _taxes(document: Mapping[str, Any]) -> Iterator[Defect]:
    rates = {name: exact(document["tax_rates"].get(name, 0)) for name in ("st", "lt", "niit")}
    for name in ("st", "lt"):
        if rates[name] + rates["niit"] > 1:
            yield defect(
                ("tax_rates", name), document["tax_rates"][name], "with niit exceeds the whole gain; correct the rates."
            )
    if document.get("shorts") and not TaxRegime(document["tax_regime"]).settles_shorts:
        yield defect(("shorts",), document["shorts"], "are not settled under this tax_regime; leave them out.")
    canadian, pooled = document["tax_regime"] == TaxRegime.CA, document["lot_method"] == LotMethod.ACB
    if canadian != pooled:
        yield defect(
            ("lot_method",),
            document["lot_method"],
            "Canada averages the cost of a security; write ACB."
            if canadian
            else "average cost is Canada's method; write HIFO, LEAST_TAX_FIRST or FIFO.",
        )
    if canadian and rates["st"] != rates["lt"]:
        yield defect(
            ("tax_rates", "st"),
            document["tax_rates"]["st"],
            "Canada has one rate for all holding periods; write the same effective rate for st and lt.",
        )


def _params(params: Mapping[str, Any]) -> Iterator[Defect]:
    known = sorted(field.name for field in fields(StrategyParams))
    yield from (
        defect(("params", name), params[name], f"is not a strategy parameter; {advice(name, known)}")
        for name in params
        if name not in known
    )
    values = {name: plain_number(value) for name, value in params.items() if name in known}
    sound = {name: value for name, value in values.items() if _objection({name: value}) is None}
    for name, value in values.items():
        # A value may clash with another's default only: it is judged among the sound ones.
        objection = _objection({**sound, name: value})
        if name not in sound and objection is not None:
            yield defect(("params", name), params[name], f"{objection} See 'prometheus strategy show'.")
    together = _objection(sound)
    if together is not None:
        # each is sound beside the defaults; the last of those that clash is named
        clashing = [name for name in params if name in sound and name in together]
        where: Location = ("params", clashing[-1]) if clashing else ("params",)
        value = params[clashing[-1]] if clashing else params
        yield defect(where, value, f"{together} See 'prometheus strategy show'.")


def _objection(values: Mapping[str, Any]) -> str | None:
    try:
        StrategyParams.from_dict(values)
    except ConfigurationError as error:
        return error.message
    except TypeError:
        return "a value of this kind cannot stand here."
    return None


def plain_number(value: Any) -> Any:
    """Return a parameter's value with floats for Decimals, as the strategy's own JSON would have them."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain_number(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_number(item) for key, item in value.items()}
    return value


def _repeated(rows: Sequence[Mapping[str, Any]], array: str, key: str, what: str) -> Iterator[Defect]:
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row[key] in first:
            yield defect(
                (array, i, key), row[key], f"is the {key} of {array}[{first[row[key]]}] too; {what} stands here once."
            )
        first.setdefault(row[key], i)


def _unknown_ticker(location: Location, ticker: str) -> Defect:
    return defect(location, ticker, "is not among the assets; add the asset with its price, or correct the ticker.")
