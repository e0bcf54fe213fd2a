"""Form 8949 as a TXF file, which tax programs for the US read.

Source: Tax Exchange Format, version 042 (Intuit, 30 November 2011), record format 5 and section IV: 321, 711 and 712
for short-term sales of copies A, B and C of Form 8949, 323, 713 and 714 for long-term ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from prometheus.foundation.errors import ConfigurationError
from prometheus.ledger.lots import term_of
from prometheus.ledger.reports.amounts import NOT_ADVICE, money_text
from prometheus.ledger.reports.form_8949 import PARTS, Form8949Line, us_date

_VERSION: Final = "042"
_END: Final = "^"
#: Reference number by box of Form 8949. The format knows no boxes for digital assets.
REFERENCE_NUMBERS: Final = {"A": 321, "B": 711, "C": 712, "D": 323, "E": 713, "F": 714}


@dataclass(frozen=True, slots=True)
class TxfFile:
    """A TXF file, and what it cannot say.

    Attributes:
        text: The file, its lines ended by CR LF.
        by_hand: One sentence for each row that must be entered or completed by hand.
        notice: That this is a calculation and no advice; the format has no place for it.
    """

    text: str
    by_hand: tuple[str, ...]
    notice: str = NOT_ADVICE


def txf_file(rows: Iterable[Form8949Line], *, program: str, exported_on: date) -> TxfFile:
    """Write rows of Form 8949 as TXF.

    Costs and proceeds are positive, as the examples of the format have them; the third amount is the wash sale loss
    disallowed and stays empty where there is none. An adjustment by code B has no field: the row is written as the
    broker reports it and named, as is every row of a digital asset, which is left out.

    Args:
        rows: Rows of one return and tax year.
        program: Name and version of the program that exports.
        exported_on: Date of the export.

    Raises:
        ConfigurationError: The name of the program has a line end or is empty; the rows are of several years.

    Source: TXF v042, sections IV, VII and VIII, record format 5.
    """
    if not program or not program.isprintable():
        raise ConfigurationError("Give the name of the program that exports, one line of text.")
    rows = tuple(rows)
    years = sorted({row.tax_year for row in rows})
    if len(years) > 1:
        raise ConfigurationError(f"A TXF file is of one tax year; these rows are of {years[0]} and {years[-1]}.")
    lines = [f"V{_VERSION}", f"A{program}", f"D{us_date(exported_on)}", _END]
    by_hand = []
    for row in rows:
        number = REFERENCE_NUMBERS.get(row.box)
        if number is None:
            by_hand.append(f"{_named(row)}: enter the row in box {row.box}; TXF has no box for digital assets.")
            continue
        if "B" in row.codes:
            amount = f"code {row.codes} with the adjustment {money_text(row.adjustment)}"
            by_hand.append(f"{_named(row)}: enter {amount}; TXF has no field for it.")
        elif "T" in row.codes:
            by_hand.append(f"{_named(row)}: enter code {row.codes}; TXF has no field for it.")
        if row.acquired_on is not None and PARTS[term_of(row.acquired_on, row.sold_on)] != row.part:
            # A tacked holding period, or a short sale whose term follows other shares.
            part = f"check that the program keeps it in part {row.part}"
            by_hand.append(f"{_named(row)}: {part}; its dates alone say otherwise.")
        lines += [
            "TD",
            f"N{number}",
            "C1",
            "L1",
            f"P{_printable(row.description)}",
            f"D{row.acquired_text}",
            f"D{row.sold_text}",
            f"${row.basis:.2f}",
            f"${row.proceeds:.2f}",
            f"${row.disallowed_loss:.2f}" if row.disallowed_loss else "$",
            _END,
        ]
    return TxfFile("".join(f"{line}\r\n" for line in lines), tuple(by_hand))


def _named(row: Form8949Line) -> str:
    return f"{row.description}, sold {row.sold_text}, account {row.account}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
