"""Two hundred invented companies: names, tickers, sectors, share classes. The same for every seed."""

from typing import Final

from prometheus.domain.securities import Security

#: (GICS sector, sub-industry, word in the companies' names, number of companies); 200 companies in all.
_INDUSTRIES: Final[tuple[tuple[str, str, str, int], ...]] = (
    ("Information Technology", "Application Software", "Software", 9),
    ("Information Technology", "Semiconductors", "Semiconductor", 9),
    ("Information Technology", "IT Consulting & Other Services", "Digital Services", 5),
    ("Information Technology", "Technology Hardware, Storage & Peripherals", "Systems", 4),
    ("Information Technology", "Communications Equipment", "Networks", 4),
    ("Health Care", "Pharmaceuticals", "Pharma", 7),
    ("Health Care", "Health Care Equipment", "Medical", 8),
    ("Health Care", "Biotechnology", "Biosciences", 5),
    ("Health Care", "Managed Health Care", "Health Plans", 5),
    ("Financials", "Diversified Banks", "Bancorp", 6),
    ("Financials", "Regional Banks", "Regional Bank", 7),
    ("Financials", "Property & Casualty Insurance", "Insurance", 6),
    ("Financials", "Asset Management & Custody Banks", "Asset Management", 4),
    ("Financials", "Transaction & Payment Processing Services", "Payments", 4),
    ("Consumer Discretionary", "Restaurants", "Restaurants", 6),
    ("Consumer Discretionary", "Automobile Manufacturers", "Motors", 3),
    ("Consumer Discretionary", "Homebuilding", "Homes", 5),
    ("Consumer Discretionary", "Apparel Retail", "Outfitters", 5),
    ("Consumer Discretionary", "Hotels, Resorts & Cruise Lines", "Resorts", 6),
    ("Industrials", "Aerospace & Defense", "Aerospace", 6),
    ("Industrials", "Industrial Machinery & Supplies & Components", "Machinery", 9),
    ("Industrials", "Passenger Airlines", "Airlines", 4),
    ("Industrials", "Rail Transportation", "Rail", 3),
    ("Industrials", "Building Products", "Building Products", 5),
    ("Industrials", "Environmental & Facilities Services", "Environmental", 3),
    ("Consumer Staples", "Packaged Foods & Meats", "Foods", 7),
    ("Consumer Staples", "Tobacco", "Tobacco", 3),
    ("Consumer Staples", "Household Products", "Household", 3),
    ("Consumer Staples", "Soft Drinks & Non-alcoholic Beverages", "Beverages", 2),
    ("Energy", "Oil & Gas Exploration & Production", "Petroleum", 6),
    ("Energy", "Oil & Gas Equipment & Services", "Oilfield", 4),
    ("Materials", "Specialty Chemicals", "Chemicals", 6),
    ("Materials", "Construction Materials", "Aggregates", 3),
    ("Materials", "Gold", "Gold", 2),
    ("Real Estate", "Retail REITs", "Retail Properties", 4),
    ("Real Estate", "Residential REITs", "Residential", 5),
    ("Utilities", "Electric Utilities", "Electric", 6),
    ("Utilities", "Multi-Utilities", "Utilities", 3),
    ("Communication Services", "Interactive Media & Services", "Interactive", 4),
    ("Communication Services", "Movies & Entertainment", "Entertainment", 4),
)

# Invented syllables; three characters of the one and two of the other make tickers that no listed company uses.
_FIRST: Final = (
    *("Brev", "Quor", "Zant", "Vulm", "Drosk", "Krel", "Plov", "Skarn", "Tarv", "Ostr"),
    *("Fenw", "Grux", "Hulv", "Jost", "Kyrn", "Lumv", "Mirv", "Norq", "Pryd", "Wexl"),
)
_SECOND: Final = ("ano", "etis", "ilon", "ora", "unex", "ady", "erin", "ivo", "osk", "uma")
#: Steps through the 200 stems; coprime to their number, so each comes once and neighbours in the alphabet differ.
_STRIDE: Final = 73

#: Companies with two classes of shares: sub-industry, and how the two tickers differ.
_TWO_CLASSES: Final[dict[str, tuple[str, str]]] = {
    "Interactive Media & Services": (".A", ".B"),
    "Movies & Entertainment": ("", "L"),
}


def demo_universe() -> tuple[Security, ...]:
    """Return the securities in alphabetical order of their tickers.

    Two pairs of share classes share a group; every other security is a group of its own.
    """
    securities: list[Security] = []
    stem = 0
    for sector, sub_industry, trade, count in _INDUSTRIES:
        left = count
        if sub_industry in _TWO_CLASSES:
            name, ticker = _company(stem, trade)
            securities += [
                Security(ticker[:4] + ending, f"{name} Class {share_class}", sector, sub_industry, ticker[:4])
                for ending, share_class in zip(_TWO_CLASSES[sub_industry], "AB", strict=True)
            ]
            stem, left = stem + 1, count - 2
        for _ in range(left):
            name, ticker = _company(stem, trade)
            securities.append(Security(ticker, name, sector, sub_industry, ticker))
            stem += 1
    return tuple(sorted(securities, key=lambda security: security.ticker))


def _company(number: int, trade: str) -> tuple[str, str]:
    first, second = divmod(number * _STRIDE % (len(_FIRST) * len(_SECOND)), len(_SECOND))
    return f"{_FIRST[first]}{_SECOND[second]} {trade}", (_FIRST[first][:3] + _SECOND[second][:2]).upper()
