"""Where things lie: tests beside the module they test, and modules of a size that one reads at once."""

from tests.conftest import REPOSITORY

UNIT, CODE = REPOSITORY / "tests" / "unit", REPOSITORY / "prometheus"
#: Unit tests that no module has the name of. The list may only become shorter.
WITHOUT_MODULE = {
    "ledger/test_cases.py",
    "ledger/files/test_one_security.py",
    "ledger/files/test_presets.py",
    "ledger/reports/test_tax_rules.py",
}
#: Lines of a module that is not split: past these look for the second idea inside.
LONGEST = 400
#: Modules that are longer, each with the reason. The list may only become shorter.
LONGER = {
    "ledger/actions.py": "the day's order of actions beside the actions; to be cut in two",
    "ledger/events.py": "one list of what can happen",
    "ledger/regimes/pool_costs.py": "one replay of what pools cost",
    "optimizer/dual/kernels.py": "one evaluation, whose compiled loops must lie in one module (optimizer/compiled.py)",
}
#: Lines of a module that is not merged: below these it is never read apart from its neighbour.
SHORTEST = 40


def test_unit_tests_are_found_by_the_name_of_their_module():
    """``tests/unit/<package>/test_<module>.py`` tests ``prometheus/<package>/<module>.py``."""
    tests = [path.relative_to(UNIT) for path in UNIT.rglob("test_*.py") if path.parent != UNIT]
    assert tests
    lost = {test for test in tests if not (CODE / test.parent / test.name.removeprefix("test_")).exists()}
    assert {test.as_posix() for test in lost} == WITHOUT_MODULE


def test_modules_have_one_idea_and_a_whole_one():
    """No module is shorter than the limit, and none longer but those listed with a reason; faces may be short."""
    lines = {
        path.relative_to(CODE).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in CODE.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert {name for name, count in lines.items() if count > LONGEST} == LONGER.keys()
    assert {name for name, count in lines.items() if count < SHORTEST} == set()
