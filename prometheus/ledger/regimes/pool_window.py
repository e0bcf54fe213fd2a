"""The window of a Canadian household: trades by group, and pools that follow splits, new symbols and exchanges."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from prometheus.ledger.book import Book
from prometheus.ledger.keys import LotKey
from prometheus.ledger.regimes.denials import pool_lot_id
from prometheus.ledger.regimes.pool_costs import PoolCosts
from prometheus.ledger.state import Loss, Purchase
from prometheus.ledger.window import GroupKey, Window

#: A purchase counts for a loss that is settled up to sixty days after it, when it lies thirty days before the loss.
_PURCHASE_DAYS: Final = 90


class PoolWindow(Window):
    """The window of a Canadian household; splits and new symbols reach the pools' histories too."""

    __slots__ = ("_book", "_costs", "_pay_fractions")

    def __init__(self, book: Book, costs: PoolCosts, pay_fractions: Callable[[Book, str], None]) -> None:
        def group_of(account: str, ticker: str) -> GroupKey:  # noqa: ARG001 - the window's signature
            return ("", book.group_of(ticker))

        super().__init__(group_of, _purchase_order, _loss_order, _PURCHASE_DAYS)
        self._book, self._costs, self._pay_fractions = book, costs, pay_fractions

    def scale(self, ticker: str, ratio: Fraction) -> None:
        """Put all trades of a security into the shares of after a split, which all accounts have seen by now."""
        super().scale(ticker, ratio)
        self._costs.scale(self._book, ticker, ratio)
        self._pay_fractions(self._book, ticker)

    def rename(self, new_tickers: Mapping[str, str], regroup: Callable[[], None]) -> None:
        """Give trades the new symbols of their securities, all at once."""
        former = {ticker: self._book.group_of(ticker) for ticker in new_tickers}
        super().rename(new_tickers, regroup)
        self._costs.rename(self._book, new_tickers, former)

    def exchange(self, lot: LotKey, ticker: str, ratio: Fraction) -> None:
        """Let the trades of a security that is exchanged share for share go on as those of the other company.

        Source: ITA s. 85.1, by which the shares received take the place of the shares given.
        """
        former = lot.lot_id.removeprefix(pool_lot_id(""))
        tickers = {each.ticker for each in self.purchases.values()} | {each.ticker for each in self.losses.values()}
        if former in tickers or self._book.group_of(former) in self._book.histories:
            self.scale(former, ratio)
            self.rename({former: ticker}, lambda: None)


def _purchase_order(purchase: Purchase) -> tuple[Any, ...]:
    return (purchase.day, purchase.lot)


def _loss_order(loss: Loss) -> tuple[Any, ...]:
    return (loss.day, loss.event, loss.lot)
