"""Values that cross packages have types: where a mapping of anything is left, and how often."""

import re
from typing import Final

from tests.conftest import REPOSITORY

CODE = REPOSITORY / "prometheus"
_ANYTHING: Final = re.compile(r"\b(?:dict|Mapping)\[str, (?:Any|object)\]")
#: Modules that read or write JSON, CSV, TOML or a library's own mappings: the edges. The numbers may only become
#: smaller.
AT_AN_EDGE = {
    # Lines of a run file.
    "audit/run_file.py": 4,
    # What typing.get_type_hints returns.
    "bootstrap/variables.py": 1,
    # Members of a stored document, one canonical text each.
    "db/run_digests.py": 2,
    # A problem file, before it is read, and its schema.
    "decision/problem_file/document.py": 2,
    "decision/problem_file/magnitudes.py": 6,
    "decision/problem_file/quick_fit.py": 3,
    "decision/problem_file/reading.py": 10,
    "decision/problem_file/schema.py": 7,
    "decision/problem_file/sense.py": 15,
    # Readers of stored documents of every version.
    "decision/snapshot.py": 7,
    "decision/stored_result.py": 6,
    "decision/trade_columns.py": 1,
    # Values of JSON on their way into the checked dataclass.
    "domain/strategy.py": 1,
    # Writers of JSON and CSV.
    "foundation/canonical.py": 2,
    "foundation/files.py": 2,
    # Rows of a CSV file and of JSON lines.
    "ingestion/executions.py": 1,
    "ingestion/json_lines.py": 2,
    # Events as JSON; tables of TOML.
    "ledger/event_json.py": 3,
    "ledger/files/mapping.py": 1,
    "ledger/files/returns_file.py": 2,
    # Choices as texts on their way into the dataclass.
    "ledger/tie_rules.py": 1,
    # The document of an answer, which is printed.
    "scripts/optimize.py": 2,
}


def test_mappings_of_anything_become_fewer():
    """No module has more of them than it is allowed, and none is allowed more than it has."""
    counts = {
        path.relative_to(CODE).as_posix(): len(_ANYTHING.findall(path.read_text(encoding="utf-8")))
        for path in CODE.rglob("*.py")
    }
    assert {name: count for name, count in counts.items() if count > AT_AN_EDGE.get(name, 0)} == {}
    assert {name: count for name, count in AT_AN_EDGE.items() if count > counts.get(name, 0)} == {}
