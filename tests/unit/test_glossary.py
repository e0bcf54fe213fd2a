"""One word for one meaning: the glossary's terms are used, and the expressions that they replaced do not come back."""

import io
import re
import tokenize

import pytest

from tests.conftest import REPOSITORY

GLOSSARY = REPOSITORY / "docs" / "glossary.md"
PAGES = (
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
)
TERM = re.compile(r"^- \*\*(.+)\*\*: (.+)$")
NUMBERED_NAMES = r"\b\d[\d,]* names\b"
NAMES = r"\b(?:all|other|these|those|few|more|single|several|many|traded|of) names\b"
NAME = (
    r"\b(?:a|each|every|one|any|no|another|own) name "
    r"(?:is|was|has|had|have|may|must|that|whose|of the|without|with)\b"
)
#: An expression, and what is said instead.
FORBIDDEN = {
    r"\b(?:take|takes|taken|taking|took) back\b": "disallow (a loss), reverse (a row)",
    r"\bstanding\b": "effective, unfinished, eligible",
    r"\b(?:the|every|each) (?:next )?heartbeat (?:takes|tries|does|with a run)\b": "tick",
    r"\b(?:start|end) of (?:each|every|one) heartbeat\b": "tick",
    r"\bheartbeats? (?:that (?:finds?|takes?)|with) nothing\b": "tick",
    r"\bput off to the next heartbeat\b": "tick",
    r"\bpositions? (?:of|in) the journal\b|\bjournal(?:'s)? positions?\b": "journal sequence",
    NUMBERED_NAMES: "assets, securities, tickers, accounts",
    NAMES: "assets, securities, tickers",
    NAME: "asset, security, ticker",
    r"\bmixing shares\b|\b(?:parent's|half's|branch's) shares\b": "weights",
    r"\bmornings?\b": "ex-date processing, day",
    r"\bhouse\b": "package, project",
    r"\brooms?\b": "package, module, space",
    r"\bdoors?\b": "receiver state",
    r"\bbur(?:y|ies|ied)\b": "kill",
    r"\b(?<!-)letters?\b": "message",
    r"\bdesks?\b": "lease monitor",
    r"\bheld against\b": "compared with",
    r"\b(?:mend|mends|mended)\b": "repair, correct",
}
#: Words that no identifier of the package has, between underscores or capitals, and what is said instead.
FORBIDDEN_IDENTIFIERS = {
    "found": "what it holds: rows, findings, account, match",
    "standing": "effective, unfinished, eligible",
    "morning": "ex-date processing, day",
    "desk": "monitor",
    "letter": "message",
    "door": "receiver state",
    "room": "package, space",
    "house": "package, project",
    "bury": "kill, finish",
}
IDENTIFIER = re.compile(rf"(?:^|_)(?:{'|'.join(FORBIDDEN_IDENTIFIERS)})s?(?:_|$)", re.IGNORECASE)
WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: Names of the language and its libraries.
FOREIGN_NAMES = frozenset({"FileNotFoundError", "PackageNotFoundError"})
#: Packages and modules that are not clean yet, with the most expressions and the most identifiers that they may have.
#: Numbers may only become smaller; an entry that is clean goes.
CODE_EXCEPTIONS = {
    # "one names the other": the verb
    "decision/problem_file/reading.py": (1, 0),
    "ledger": (12, 0),
    # recorded with runs: the reason of a trade, the rule of a limit
    "optimizer/explain.py": (1, 0),
    "optimizer/verification.py": (2, 0),
    # a key of the JSON form
    "orchestration/today.py": (1, 0),
}


def terms():
    """Return the glossary's sections: heading, and its terms with their texts in order."""
    sections = {}
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            sections[line[3:]] = section = []
        elif entry := TERM.match(line):
            section.append((entry[1], entry[2]))
    return sections


TERMS = [(term, text) for section in terms().values() for term, text in section]


@pytest.fixture(scope="module")
def everything():
    """What the code and the documents say, without the glossary, in lower case and with one blank between words."""
    sources = [*(REPOSITORY / "prometheus").rglob("*.py"), *(page for page in PAGES if page != GLOSSARY)]
    return re.sub(r"[\s_-]+", " ", " ".join(path.read_text(encoding="utf-8") for path in sources)).lower()


def said(page):
    """Return a page without names of tests, which belong to the code."""
    return re.sub(r"\s+", " ", re.sub(r"`test_\w+`", "", page.read_text(encoding="utf-8")))


def spoken(source):
    """Return what a module says in comments and texts, in order, and its identifiers."""
    texts, identifiers = [], []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            # the further lines of a comment, and what a text takes from a value, are part of one sentence
            texts.append(re.sub(r"\{[^{}]*\}", "1", token.string).lstrip("#: "))
        elif token.type == tokenize.NAME and token.string not in FOREIGN_NAMES:
            identifiers.append(token.string)
    return re.sub(r"\s+", " ", " ".join(texts)), identifiers


def words_of_code(source):
    """Return the replaced expressions and identifiers that a module has, each as often as it has it."""
    text, identifiers = spoken(source)
    expressions = [hit.group() for expression in FORBIDDEN for hit in re.finditer(expression, text, re.IGNORECASE)]
    return expressions, [name for name in identifiers if IDENTIFIER.search(WORD_START.sub("_", name))]


def exception_of(module):
    """Return the entry of the exceptions that a module of the package falls under, None where it must be clean."""
    return next((place for place in CODE_EXCEPTIONS if f"{module}/".startswith(f"{place}/")), None)


def test_the_glossary_has_the_terms_of_domain_and_engine():
    """Both lists are there, and no term is defined twice."""
    assert [len(section) > 20 for section in terms().values()] == [True, True]
    assert len({term for term, _ in TERMS}) == len(TERMS)


def test_every_entry_is_one_line():
    """A list has entries alone, each a term and one sentence in one line."""
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").split("\n## ", 1)[1].splitlines()[1:] if line]
    assert [line for line in lines if not line.startswith("## ") and not TERM.match(line)] == []
    assert [term for term, text in TERMS if not text.endswith(".") or len(text) > 160] == []


@pytest.mark.parametrize("section", terms())
def test_entries_are_sorted(section):
    """Terms are in the order of the alphabet, whatever their case."""
    names = [term.lower() for term, _ in terms()[section]]
    assert names == sorted(names)


@pytest.mark.parametrize("term", [term for term, _ in TERMS])
def test_every_term_is_used(term, everything):
    """A term of the glossary appears in the code or in another document."""
    words = re.escape(re.sub(r"[\s_-]+", " ", term.lower()))
    assert re.search(rf"\b{words}(?:s|es)?\b", everything)


def test_the_readme_links_the_glossary():
    """Whoever reads the README finds the words."""
    assert "(docs/glossary.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_replaced_expressions_do_not_come_back(page):
    """A page has no expression that another one replaced."""
    text = said(page)
    hits = {expression: FORBIDDEN[expression] for expression in FORBIDDEN if re.search(expression, text, re.IGNORECASE)}
    assert hits == {}, "the word beside each expression is used instead"


@pytest.mark.parametrize("expression", FORBIDDEN)
def test_every_expression_can_be_found(expression):
    """Each expression of the list is found in a sentence that has it."""
    sentences = (
        "The loss is taken back. Standing orders. The next heartbeat takes it. The start of each heartbeat. "
        "A heartbeat that finds nothing. Put off to the next heartbeat. The position of the journal. 500 names. "
        "Other names. A name that is held. The parent's shares. The morning. The house. A room. A door. It is buried. "
        "A letter. The desk. Held against it. Mend it."
    )
    assert re.search(expression, sentences, flags=re.IGNORECASE)


def test_code_has_the_words_of_the_glossary():
    """No comment, text or identifier of the package has a replaced word, but for the exceptions, which only shrink."""
    unclean, counts = {}, {place: [0, 0] for place in CODE_EXCEPTIONS}
    for path in sorted((REPOSITORY / "prometheus").rglob("*.py")):
        module = path.relative_to(REPOSITORY / "prometheus").as_posix()
        expressions, identifiers = words_of_code(path.read_text(encoding="utf-8"))
        if (place := exception_of(module)) is not None:
            counts[place][0] += len(expressions)
            counts[place][1] += len(identifiers)
        elif expressions or identifiers:
            unclean[module] = sorted({*expressions, *identifiers})
    assert unclean == {}, "the lists of this file have the words that are used instead"
    grown = {
        place: tuple(count) for place, count in counts.items() if any(map(int.__gt__, count, CODE_EXCEPTIONS[place]))
    }
    assert grown == {}, "exceptions only shrink"


def test_words_of_code_are_seen_in_comments_texts_and_identifiers():
    """A comment over two lines, a docstring, a text with values and each kind of identifier are looked at."""
    source = (
        '"""The standing orders."""\n'
        "class LeaseDesk:\n"
        "    # a loss is taken\n"
        "    # back\n"
        "    def book_morning(self, found):\n"
        '        return f"{found:,} names are held"\n'
    )
    assert words_of_code(source) == (["taken back", "standing", "1 names"], ["LeaseDesk", "book_morning", "found"])
