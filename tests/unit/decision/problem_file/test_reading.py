"""A problem file as the engine's own values."""

from datetime import date
from decimal import Decimal

import pytest

from prometheus.decision.problem_file.export import differing_fields
from prometheus.decision.problem_file.reading import read_problem
from prometheus.domain.accounts import LotMethod, TaxRegime
from prometheus.domain.lots import RecentTrade, Side
from prometheus.foundation.errors import FileRefusedError
from prometheus.ledger.window import WINDOW_DAYS
from tests.unit.decision.problem_file.small_problem import changed, raw, read, small_document

LOSS = {"ticker": "CCC", "date": "2026-10-17", "side": "SELL", "quantity": "10", "realized_gain": "-50.25"}


def test_numbers_and_text_mean_the_same_decimals():
    """Prices, shares and money written as JSON numbers are the decimals that the same text means."""
    document = small_document()
    as_text = read(document).snapshot
    document["cash"] = 1000.00
    document["assets"][0]["price"] = 10.50
    document["lots"][0]["quantity"] = 2000
    document["tax_rates"]["st"] = 0.37
    as_numbers = read(document).snapshot
    assert as_numbers.universe[0].price == Decimal("10.50")
    assert (as_numbers.cash, as_numbers.lots, as_numbers.rates) == (as_text.cash, as_text.lots, as_text.rates)


def test_absent_fields_take_their_documented_values():
    """Bases, holding periods, groups, surtax and the account's name have the defaults that the page states."""
    found = read(small_document())
    lot = found.snapshot.lots[0]
    assert (lot.cost_basis, lot.holding_period_start) == (Decimal(15000), date(2024, 1, 2))
    assert [name.group for name in found.snapshot.universe] == ["AAA", "BBB", "CCC", "DDD"]
    assert found.snapshot.rates.niit == 0
    assert found.snapshot.account_id == "PORTABLE"
    assert found.snapshot.nav() == Decimal("75400.00")
    assert found.previous_targets is None


def test_given_fields_are_taken():
    """A lot keeps the cost and the holding period of the file, a past trade everything that matching losses needs."""
    document = small_document()
    document["lots"][0].update(cost_basis="14000.50", holding_period_start="2023-12-01")
    document["recent_trades"] = [
        {
            **LOSS,
            "lot_id": "L9",
            "washed_quantity": 4,
            "disallowed_loss": "20.10",
            "acquired_on": "2025-02-03",
            "holding_period_start": "2025-01-03",
            "execution_id": "X1",
        },
        {"ticker": "DDD", "date": "2026-11-02", "side": "BUY", "quantity": 9, "lot_id": "L8", "unreplaced": "2.5"},
    ]
    found = read(document).snapshot
    assert found.lots[0].cost_basis == Decimal("14000.50")
    assert found.lots[0].adjusted_basis == Decimal(15000)
    assert found.lots[0].holding_period_start == date(2023, 12, 1)
    assert found.recent_trades == (
        RecentTrade(
            ticker="CCC",
            trade_date=date(2026, 10, 17),
            side=Side.SELL,
            quantity=Decimal(10),
            realized_gain=Decimal("-50.25"),
            lot_id="L9",
            washed_quantity=Decimal(4),
            disallowed_loss=Decimal("20.10"),
            acquired_on=date(2025, 2, 3),
            holding_period_start=date(2025, 1, 3),
            execution_id="X1",
        ),
        RecentTrade(
            ticker="DDD",
            trade_date=date(2026, 11, 2),
            side=Side.BUY,
            quantity=Decimal(9),
            lot_id="L8",
            unreplaced=Decimal("2.5"),
        ),
    )


def test_order_of_the_file_does_not_matter():
    """Assets and lots in another order are the same problem, bit for bit."""
    document = small_document()
    first = read(document).optimizer_problem()
    document["assets"].reverse()
    document["lots"].reverse()
    assert differing_fields(first, read(document).optimizer_problem()) == ()


def test_another_problem_is_told_apart():
    """Comparing problems names the fields that differ."""
    document = small_document()
    first = read(document).optimizer_problem()
    document["assets"][0]["specific_variance"] = 0.05
    document["tax_rates"]["lt"] = "0.15"
    assert differing_fields(first, read(document).optimizer_problem()) == ("specific_variance", "lot_tax")


@pytest.mark.parametrize("nav", ["75400.00", 75400, "75400.01", 75399.99])
def test_net_asset_value_may_be_a_cent_off(nav):
    """A stated net asset value is accepted within a cent of cash plus lots."""
    assert read(changed(small_document(), ("nav",), nav)).snapshot.nav() == Decimal("75400.00")


@pytest.mark.parametrize(("days", "locked"), [(WINDOW_DAYS, True), (WINDOW_DAYS + 1, False)])
def test_loss_sale_locks_purchases_through_day_thirty(days, locked):
    """The group of a loss sale may not be bought on day 30 after it and may be on day 31."""
    day = date.fromordinal(date(2026, 11, 16).toordinal() - days).isoformat()
    found = read(changed(small_document(), ("recent_trades", 0), {**LOSS, "date": day}))
    assert [lock.subject for lock in found.snapshot.buy_locks] == (["CCC"] if locked else [])
    assert found.optimizer_problem().can_buy[2] == (not locked)


def test_purchase_locks_the_loss_of_another_lot():
    """A lot bought in the last 30 days locks the loss lots of its group, which the lots alone prove."""
    document = small_document()
    document["lots"].append(
        {"lot_id": "L5", "ticker": "CCC", "acquired_on": "2026-11-02", "quantity": 5, "adjusted_basis": 150}
    )
    found = read(document)
    assert [(lock.subject, lock.until) for lock in found.snapshot.loss_sale_locks] == [("L4", date(2026, 12, 2))]
    assert dict(zip(found.optimizer_problem().lot_id, found.optimizer_problem().lot_locked, strict=True))["L4"]


def test_name_that_left_the_assets_locks_its_group():
    """A loss sale of a ticker that is no asset any more locks the assets of the group the trade names."""
    document = small_document()
    document["recent_trades"] = [{**LOSS, "ticker": "CCC.B", "group": "CCC"}]
    assert [lock.subject for lock in read(document).snapshot.buy_locks] == ["CCC"]


def test_name_priced_earlier_is_not_traded():
    """An asset whose price is of an earlier day may be neither bought nor sold."""
    found = read(changed(small_document(), ("assets", 1, "price_date"), "2026-11-13")).optimizer_problem()
    assert found.can_buy.tolist() == [True, False, True, True]
    assert found.can_sell.tolist() == [True, False, True, True]


def test_lots_are_pooled_in_canada():
    """Under average cost the lots of a ticker become one with the sums of their shares and bases."""
    document = small_document()
    document.update(tax_regime="CA", lot_method="ACB", tax_rates={"st": "0.25", "lt": "0.25"})
    found = read(document).snapshot
    assert (found.tax_regime, found.lot_method) == (TaxRegime.CA, LotMethod.ACB)
    pool = found.lots[0]
    assert (pool.lot_id, pool.quantity, pool.adjusted_basis) == ("ACB-AAA", Decimal(2500), Decimal(22500))


def test_own_cost_replaces_the_common_one():
    """An asset with a cost of its own has it, the others have params.cost_bps."""
    document = changed(small_document(), ("assets", 1, "cost"), "0.0025")
    document["params"]["cost_bps"] = 3
    assert read(document).optimizer_problem().cost_rate.tolist() == pytest.approx([0.0003, 0.0025, 0.0003, 0.0003])


def test_parameters_that_clash_with_a_default_only_are_accepted():
    """A cash range above the default one is sound when both of its ends are given."""
    document = small_document()
    document["params"].update(cash_min=0.03, cash_max=0.05)
    assert (read(document).params.cash_min, read(document).params.cash_max) == (0.03, 0.05)


def test_oversights_are_remarked():
    """Restrictions that name no asset, and weights that had to be scaled, are flagged and not refused."""
    document = changed(small_document(), ("assets", 3, "benchmark_weight"), 0.1)
    document["params"].update(no_buy=["AAA", "TYPO"], never_hold_sub_industries=["Coal"])
    flags = read(document).snapshot.flags
    assert [(flag.code, flag.message.split("'")[1] if "'" in flag.message else None) for flag in flags] == [
        ("BENCHMARK_SCALED", None),
        ("NO_SUCH_NAME", "TYPO"),
        ("NO_SUCH_NAME", "Coal"),
    ]
    assert read(document).optimizer_problem().benchmark_weights.sum() == pytest.approx(1)


def test_a_decimal_that_is_zero_as_a_float_is_refused():
    """A variance that is positive as a decimal and zero as a float is too small to be meant."""
    content = raw(small_document()).replace(b'"specific_variance": 0.04', b'"specific_variance": 1e-400', 1)
    with pytest.raises(FileRefusedError, match=r"\$\.assets\[0\]\.specific_variance .* must be at least 1e-12"):
        read_problem(content, "problem.json")
