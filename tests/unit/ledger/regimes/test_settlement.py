from datetime import date

import pytest

from prometheus.ledger.regimes.settlement import settlement_date


@pytest.mark.parametrize(
    ("traded", "settles"),
    [
        # T+3, T+2 from 5 September 2017, T+1 from 27 May 2024
        ("2017-09-01", "2017-09-06"),
        ("2017-09-05", "2017-09-07"),
        ("2024-05-24", "2024-05-28"),
        ("2024-05-27", "2024-05-28"),
        # over weekends and the end of a year
        ("2024-12-31", "2025-01-02"),
        ("2012-12-24", "2012-12-31"),
        ("2012-12-27", "2013-01-02"),
        ("2015-12-24", "2015-12-31"),
        ("2015-12-29", "2016-01-04"),
        # 25 and 26 December 2021 were a weekend: 27 and 28 are observed; 1 January 2022 on the 3rd
        ("2021-12-24", "2021-12-30"),
        ("2021-12-30", "2022-01-04"),
        ("2022-12-23", "2022-12-29"),
    ],
)
def test_settlement_follows_the_cycle_of_its_day(traded, settles):
    """Business days after the trade: three, two, one; the holidays around the end of the year are left out.

    Sources: Canadian Capital Markets Association; last days for tax in 2012 and 2015 as the TSX announced them.
    """
    assert settlement_date(date.fromisoformat(traded)) == date.fromisoformat(settles)
