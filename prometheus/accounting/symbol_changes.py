"""New symbols in a household's files: a security has one symbol a day, whichever account's rows say so.

A broker lists a new symbol where shares are held, and not always on the same day. So the first row that names a change
makes it happen for every account that holds the shares; a later row of another account says nothing new, and what that
account's rows call by the former symbol until then is read under the new one.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from prometheus.domain.entries import Entry, EntryAction


class SymbolChanges:
    """The changes of a household's history so far; lives while its entries are booked, day by day."""

    def __init__(self) -> None:
        #: By account: former to new symbol of changes that other accounts' rows have told.
        self._told: dict[str, dict[str, str]] = defaultdict(dict)

    def of_the_day(self, entries: Iterable[Entry], holders: Callable[[str], frozenset[str]]) -> list[Entry]:
        """Return a day's entries in the symbols of the day, with a RENAME for every account that holds the shares.

        Args:
            entries: Of one day, all accounts, in canonical order.
            holders: Accounts that hold a security in the morning.
        """
        given = tuple(entries)
        renames = [entry for entry in given if entry.action is EntryAction.RENAME and not self._is_known(entry)]
        listed = {(entry.account, entry.ticker) for entry in renames}
        targets = {entry.other_ticker for entry in renames}
        found = list(renames)
        for entry in {entry.ticker: entry for entry in reversed(renames)}.values():
            for account in sorted(holders(entry.ticker)):
                if (account, entry.ticker) not in listed:
                    found.append(replace(entry, account=account, entry_id=None))
                    # A symbol that another security takes over that day means that other one from then on.
                    if entry.ticker not in targets:
                        self._told[account][entry.ticker] = entry.other_ticker or ""
        found += [self._renamed(entry) for entry in given if entry.action is not EntryAction.RENAME]
        return found

    def _is_known(self, entry: Entry) -> bool:
        """Return whether an account's row tells again what was booked for it already; from now on its symbols count."""
        told = self._told[entry.account]
        if told.get(entry.ticker) != entry.other_ticker:
            return False
        del told[entry.ticker]
        return True

    def _renamed(self, entry: Entry) -> Entry:
        told, ticker = self._told[entry.account], entry.ticker
        seen = set()
        while ticker in told and ticker not in seen:
            seen.add(ticker)
            ticker = told[ticker]
        return entry if ticker == entry.ticker else replace(entry, ticker=ticker)
