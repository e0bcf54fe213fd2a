"""Histories as a person would write them into a file, read and booked for a test to look at."""

from collections import defaultdict

from prometheus.ledger.files.book_file import FileSettings, book_file
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.lot_lines import lot_lines

HEADER = (
    "date,account,ticker,action,quantity,amount,lot_id,group,account_type,other_ticker,basis_fraction,other_account\n"
)


def positions(books):
    """Return shares by account and ticker."""
    shares = defaultdict(int)
    for lot in books.state.lots.values():
        shares[lot.account, lot.ticker] += lot.quantity
    return dict(shares)


class Told:
    """A history booked: sales by lot, lots held by name; Canada's pools are those of ``owner``."""

    def __init__(self, text, **settings: object) -> None:
        rows = [line.strip() for line in text.strip().splitlines()]
        booked = book_file(HEADER + "\n".join(rows) + "\n", FileSettings(**settings))
        self.books = booked.books
        self.findings = booked.findings
        assert not booked.left_out, booked.left_out
        self.sales = disposition_lines(self.books.postings, self.books.terms, as_of=self.books.as_of)
        self.lots = {(line.account, line.lot_id): line for line in lot_lines(self.books) if line.sale is None}

    @property
    def positions(self):
        """Return shares by account and ticker."""
        return positions(self.books)

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
        return sum(sale.gain for sale in self.sales)
