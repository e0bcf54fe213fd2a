"""The public vectors' reports, compared to the last character with files that stand beside the rule and the trades.

Each folder has the rule with its source and the figures by hand, the trades, and what the commands print for them.
"""

from pathlib import Path

import pytest
from click.testing import CliRunner

from prometheus.domain.accounts import TaxRegime
from prometheus.scripts.main import main

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/rule.txt"))
FORM = {TaxRegime.US: "form_8949", TaxRegime.CA: "schedule_3"}
ENDINGS = {"table": "txt", "csv": "csv", "json": "json"}


def trades(folder):
    """Return the file of a vector's trades and whose rules apply to it."""
    (path,) = folder.glob("trades_*.csv")
    return path, TaxRegime(path.stem[-2:].upper())


def form(folder, output):
    """Return the tax form of all sales of a vector as the report command prints it."""
    path, regime = trades(folder)
    arguments = ["ledger", "tax-report", "--file", str(path), "--regime", regime.value, "--format", output]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("output", ENDINGS)
def test_lots_are_printed_as_in_the_golden_file(folder, output):
    """``ledger wash-sales`` prints a vector's lots as table, CSV and JSON exactly as the golden file has them."""
    path, regime = trades(folder)
    arguments = ["ledger", "wash-sales", str(path), "--regime", regime.value, "--format", output]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == (folder / f"lots.{ENDINGS[output]}").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("output", ["table", "csv"])
def test_tax_forms_are_printed_as_in_the_golden_file(folder, output):
    """A vector's sales in the layout of Form 8949 or Schedule 3 are exactly those of the golden file."""
    _, regime = trades(folder)
    assert form(folder, output) == (folder / f"{FORM[regime]}.{ENDINGS[output]}").read_text()


def test_every_vector_has_its_files():
    """All ten public vectors are here, each with rule, trades, three reports of lots and two of its form."""
    assert len(FOLDERS) == 10
    for folder in FOLDERS:
        _, regime = trades(folder)
        names = {"rule.txt", "lots.txt", "lots.csv", "lots.json", f"{FORM[regime]}.txt", f"{FORM[regime]}.csv"}
        assert {path.name for path in folder.iterdir()} - {trades(folder)[0].name} == names
