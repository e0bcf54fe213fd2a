from prometheus.ledger.files.row_checks import separator_hints


def test_symbols_that_differ_by_the_separator_are_hinted_at():
    """BRK.B, BRK/B and BRK B may be one security: each later spelling is named with the first, and not refused."""
    hints = separator_hints({"BRK.B": 2, "BRK/B": 5, "BRK B": 7, "BRK.A": 8, "X": 9})
    assert [(hint.row, hint.code, hint.refused) for hint in hints] == [
        (5, "SIMILAR_SYMBOLS", False),
        (7, "SIMILAR_SYMBOLS", False),
    ]
    assert "BRK/B and BRK.B" in hints[0].message


def test_different_symbols_are_no_hint():
    """Other letters are another security."""
    assert separator_hints({"AB": 2, "ABC": 3}) == []
