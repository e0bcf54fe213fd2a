"""Histories as a person would write them, booked for a test to look at."""

from prometheus.accounting.entry_file import read_entries
from prometheus.accounting.household import book_entries
from prometheus.accounting.household_ledger import HouseholdSettings
from prometheus.accounting.lot_report import sale_lines_of

HEADER = (
    "date,account,ticker,action,quantity,amount,lot_id,group,account_type,other_ticker,basis_fraction,other_account\n"
)


class Told:
    """A history booked: sales by lot, lots held by name."""

    def __init__(self, text, **settings: object) -> None:
        rows = [line.strip() for line in text.strip().splitlines()]
        found = read_entries(HEADER + "\n".join(rows) + "\n")
        self.books = book_entries(found.entries, HouseholdSettings(sheltered=found.sheltered, **settings))
        assert not found.findings, found.findings
        assert not self.books.findings, self.books.findings
        self.sales = sale_lines_of(self.books)
        self.lots = {(account, lot.lot_id): lot for account, lots in self.books.lots.items() for lot in lots}

    def basis(self, lot_id, account="A"):
        """Return the adjusted basis of a lot that is held."""
        return self.lots[account, lot_id].adjusted_basis

    @property
    def disallowed(self):
        """Return what is disallowed of all sales."""
        return sum(sale.disallowed_loss for sale in self.sales)

    @property
    def recognized(self):
        """Return what counts of all sales."""
        return sum(sale.recognized_gain for sale in self.sales)
