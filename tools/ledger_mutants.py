"""Change the ledger's rules one place at a time and see whether its tests notice.

    python tools/ledger_mutants.py [--mutants 300] [--seed 1] [--only us canada] [--signs] [--show]

Each mutant is one change of one rule module: another comparison, plus for minus, a statement or an argument left out.
It runs in a process of its own, which runs the ledger's unit and property tests, and its recorded histories last,
until one fails. Places are drawn by seed, from every rule module as many as its size asks for. Mutants that no test
notices are listed.
tools/equal_mutants.toml has those that change no result, each with the reason; they are tried too, and one that a
test notices is said to be listed wrongly. The command ends with exit code 1 where fewer than 95 of 100 of the others
are noticed.
"""

import argparse
import ast
import importlib.machinery
import itertools
import os
import random
import resource
import signal
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import hypothesis.strategies  # noqa: F401 - loaded once, for all forked processes
import pytest

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "prometheus" / "ledger"
#: Mutants that change no result: module, text of the line, change, reason.
EQUAL = ROOT / "tools" / "equal_mutants.toml"
#: Modules that hold rules.
MODULES = (
    "window",
    "regimes/us",
    "regimes/wash_sales",
    "regimes/shorts",
    "regimes/us_shorts",
    "regimes/canada",
    "regimes/pool_costs",
    "regimes/pool_window",
    "regimes/superficial",
    "regimes/denials",
    "regimes/settlement",
    "regimes/canada_shorts",
    "selection",
    "actions",
    "share_actions",
    "exchanges",
    "payments",
    "book",
    "corrections",
)
#: Modules in which every plus and minus decides an amount that is denied, or the day until which it can change.
SIGNED = ("regimes/superficial", "regimes/denials", "regimes/pool_costs", "reports/dispositions")
PROPERTIES = ("differential", "canada", "canada_oracle", "wash_oracle", "conservation")
#: Histories whose books were written down; they say what changed, the other tests say what is right.
RECORDED = ROOT / "tests" / "golden" / "test_ledger_books.py"
_TESTS = ("test_*.py", "regimes/test_*.py", "reports/test_dispositions.py")
ENOUGH = 0.95
#: Characters of a change that are said, and of what comes before it.
_LONG = 90
_NEAR = 30
#: Seconds of processor time after which a mutant counts as noticed: it does not end.
LONGEST = 40

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A module with one place changed."""

    module: str
    line: int
    function: str
    change: str
    tree: ast.Module
    is_sign: bool
    text: str

    @property
    def name(self) -> tuple[str, str, str]:
        """Return what names it while lines move: module, text of its line, change."""
        return (self.module, self.text, self.change)


def places_of(module: str) -> int:
    """Return in how many ways a module can be changed."""
    return sum(1 for _ in _places(_tree_of(module), ""))


def mutant_of(module: str, number: int) -> Mutant:
    """Return the mutant of a module that has a number, in the order of its lines."""
    tree = _tree_of(module)
    function, node, change = next(itertools.islice(_places(tree, ""), number, None))
    before, is_sign = ast.unparse(node), isinstance(getattr(node, "op", None), ast.Add | ast.Sub)
    change(node)
    ast.fix_missing_locations(tree)
    text = (LEDGER / f"{module}.py").read_text(encoding="utf-8").splitlines()[node.lineno - 1].strip()
    return Mutant(module, node.lineno, function, _change(before, ast.unparse(node)), tree, is_sign, text)


def _tree_of(module: str) -> ast.Module:
    path = LEDGER / f"{module}.py"
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _change(before: str, after: str) -> str:
    """Return what a change is: both texts, cut to where they differ."""
    before, after = before.splitlines()[0], after.splitlines()[0]
    if len(before) > _LONG or len(after) > _LONG:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
        start = max(sum(1 for _ in same) - _NEAR, 0)
        before, after = (f"...{text[start : start + _LONG]}..." for text in (before, after))
    return f"{before}  ->  {after}"


def _places(node: ast.AST, function: str) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield what can be changed: the function, the node and the change, in an order that depends on nothing else."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "type_params"} or _is_slots(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            inside = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else function
            if function and inside != function:
                inside = f"{function}.{inside}"
            for change in _changes(child):
                yield inside, child, change
            yield from _places(child, inside)


def _is_slots(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"__slots__", "__all__"}


def _changes(node: ast.AST) -> Iterator[Callable[[Any], None]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            yield lambda each: each.ops.__setitem__(0, _COMPARISONS[type(each.ops[0])]())
        case ast.Compare(ops=[_, _]):
            for i in range(2):
                yield lambda each, i=i: each.ops.__setitem__(i, _COMPARISONS[type(each.ops[i])]())
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _OPERATORS:
            yield lambda each: setattr(each, "op", _OPERATORS[type(each.op)]())
        case ast.BoolOp(op=operator):
            other = ast.Or if isinstance(operator, ast.And) else ast.And
            yield lambda each: setattr(each, "op", other())
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            yield _without_sign
        case ast.Constant(value=bool() as value):
            yield lambda each: setattr(each, "value", not value)
        case ast.Constant(value=int() as value):
            yield lambda each: setattr(each, "value", value + 1)
        case ast.If() | ast.IfExp() | ast.While():
            yield lambda each: setattr(each, "test", ast.UnaryOp(ast.Not(), each.test))
        case ast.Expr(value=ast.Call()):
            yield lambda each: setattr(each, "value", ast.Constant(None))
        case ast.Break():
            yield lambda each: _become(each, ast.Continue)
        case ast.Continue():
            yield lambda each: _become(each, ast.Pass)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            yield lambda each: setattr(each.func, "id", _CALLS[each.func.id])
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield lambda each, i=i: each.keywords.pop(i)


def _without_sign(node: Any) -> None:
    """Make ``-x`` and ``not x`` into ``x``."""
    node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
    if isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _become(node: ast.stmt, kind: type[ast.stmt]) -> None:
    node.__class__ = kind  # the place in the list of statements stays


def drawn(count: int, seed: int, modules: tuple[str, ...]) -> list[Mutant]:
    """Return so many mutants, of each module in proportion to its places and five at least; few are left unchosen."""
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    counts = {module: places_of(module) for module in modules}
    total = sum(counts.values())
    chosen = []
    for module, places in counts.items():
        share = min(places, max(5, -(-count * places // total)))
        chosen += [mutant_of(module, number) for number in sorted(draw.sample(range(places), share))]
    return chosen


def signs(modules: tuple[str, ...]) -> list[Mutant]:
    """Return the mutants that put plus for minus or minus for plus, all of them."""
    every = (mutant_of(module, number) for module in modules for number in range(places_of(module)))
    return [mutant for mutant in every if mutant.is_sign]


def equal_mutants() -> dict[tuple[str, str, str], str]:
    """Return the reasons of the mutants that change no result, by name."""
    with EQUAL.open("rb") as file:
        listed = tomllib.load(file)["equal"]
    return {(each["module"], each["line"], each["change"]): each["reason"] for each in listed}


def tried_out(mutants: list[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Yield the mutants, each with what becomes of it: noticed, not noticed, or endless, which is noticed too.

    The tests are collected once; each mutant runs in a fork of that process, with the code of its function replaced.
    What is no function, such as a table, runs in a process that loads the changed module in the place of the true one.
    """
    reader, writer = os.pipe()
    collector = os.fork()
    if collector == 0:
        os.close(reader)
        _silenced()
        pytest.main(_arguments(), plugins=[_Loop(mutants, writer)])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        if answers.readline().strip() != "not noticed":
            raise SystemExit("The tests fail without any change; mend that first.")
        for mutant, answer in zip(mutants, answers, strict=True):
            yield mutant, _when_loaded(mutant) if answer.strip() == "table" else answer.strip()
    os.waitpid(collector, 0)


class _Loop:
    """In the place of pytest's loop: every mutant in a fork, with all tests until one fails."""

    def __init__(self, mutants: list[Mutant], writer: int) -> None:
        self._mutants, self._writer = mutants, writer

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests without a change, then try the mutants."""
        self._answer(self._tried(session, [], ""))
        for mutant in self._mutants:
            functions = _changed_functions(mutant)
            self._answer(self._tried(session, functions, mutant.module) if functions else "table")
        return True

    def _tried(self, session: pytest.Session, functions: list[tuple[FunctionType, CodeType]], module: str) -> str:
        child = os.fork()
        if child == 0:
            _run(session, functions, module)
        return _outcome(os.waitpid(child, 0)[1])

    def _answer(self, text: str) -> None:
        os.write(self._writer, f"{text}\n".encode())


def _run(session: pytest.Session, functions: list[tuple[FunctionType, CodeType]], module: str) -> None:
    """Change functions, run the tests, those of the module first, until one fails, and end the process."""
    code = 1
    try:
        _limited()
        for function, changed in functions:
            function.__code__ = changed
        own = f"test_{module.rpartition('/')[2]}.py"
        items = sorted(session.items, key=lambda item: item.path.name != own)
        for i, item in enumerate(items):
            following = items[i + 1] if i + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                break
        code = min(session.testsfailed, 1)
    finally:
        os._exit(code)


def _changed_functions(mutant: Mutant) -> list[tuple[FunctionType, CodeType]]:
    """Return the functions that a mutant changes, with their code; none where that is not all of it."""
    name = "prometheus.ledger." + mutant.module.replace("/", ".")
    codes = {code.co_qualname: code for code in _codes(compile(mutant.tree, f"{mutant.module}.py", "exec"))}
    live: dict[str, FunctionType] = {}
    module = sys.modules[name]
    for value in vars(module).values():
        members = vars(value).values() if isinstance(value, type) and value.__module__ == name else (value,)
        for member in members:
            function = getattr(member, "fget", None) or getattr(member, "__wrapped__", member)
            if isinstance(function, FunctionType) and function.__module__ == name:
                live[function.__qualname__] = function
    changed = [
        (function, codes[qualname])
        for qualname, function in live.items()
        if qualname in codes and codes[qualname] != function.__code__
    ]
    # A function without its ``super`` asks for another closure, which only a module loaded anew has.
    return changed if all(code.co_freevars == each.__code__.co_freevars for each, code in changed) else []


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _outcome(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "endless"
    return "noticed" if status else "not noticed"


def _when_loaded(mutant: Mutant) -> str:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _limited()
            _silenced()
            name = "prometheus.ledger." + mutant.module.replace("/", ".")
            _put_in_place(name, compile(mutant.tree, f"{mutant.module}.py", "exec"))
            code = int(pytest.main(["-x", *_arguments()]))
        finally:
            os._exit(min(code, 1))
    return _outcome(os.waitpid(child, 0)[1])


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))


def _silenced() -> None:
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _put_in_place(name: str, changed: CodeType) -> None:
    loader: Any = importlib.machinery.SourceFileLoader
    true_code = loader.get_code
    loader.get_code = lambda self, fullname: changed if fullname == name else true_code(self, fullname)


def _arguments() -> list[str]:
    tests = ROOT / "tests" / "unit" / "ledger"
    properties = [ROOT / "tests" / "property" / f"test_ledger_{name}.py" for name in PROPERTIES]
    files = [*sorted(file for pattern in _TESTS for file in tests.glob(pattern)), *properties, RECORDED]
    plugins = ["-p", "tests.property.conftest", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist"]
    return ["-q", "--noconftest", f"--rootdir={ROOT}", "--hypothesis-profile=mutants", *plugins, *map(str, files)]


def main() -> None:
    """Draw mutants, try each, and list those that no test notices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="modules, by the end of their name")
    parser.add_argument(
        "--signs", action="store_true", help="every plus and minus of what is denied, in place of a draw"
    )
    parser.add_argument("--show", action="store_true", help="list the mutants, try none")
    chosen = parser.parse_args()
    names = SIGNED if chosen.signs else MODULES
    modules = tuple(name for name in names if not chosen.only or name.rpartition("/")[2] in chosen.only)
    os.chdir(ROOT)
    sys.dont_write_bytecode = False  # else every process would compile the tests anew
    sys.path.insert(0, str(ROOT))
    mutants = signs(modules) if chosen.signs else drawn(chosen.mutants, chosen.seed, modules)
    if chosen.show:
        for mutant in mutants:
            _say(_line(mutant))
        return
    sys.exit(_report(mutants, "signs" if chosen.signs else f"seed {chosen.seed}"))


def _report(mutants: list[Mutant], title: str) -> int:
    """Try mutants, say what becomes of each module's, and return the exit code."""
    begun = time.monotonic()
    equal = equal_mutants()
    survivors: dict[str, int] = defaultdict(int)
    tried: dict[str, int] = defaultdict(int)
    equals = endless = 0
    for mutant, outcome in tried_out(mutants):
        is_equal, is_noticed = mutant.name in equal, outcome != "not noticed"
        endless += outcome == "endless"
        tried[mutant.module] += 1
        if is_noticed and is_equal:
            _say(f"listed as equal, and noticed  {_line(mutant)}")
        elif not is_noticed:
            survivors[mutant.module] += 1
            equals += is_equal
            if not is_equal:
                _say(f"not noticed  {_line(mutant)}")
    for module, count in tried.items():
        _say(f"{module:<20} {count - survivors[module]} of {count}")
    noticed = len(mutants) - sum(survivors.values())
    share = noticed / (len(mutants) - equals)
    seconds = time.monotonic() - begun
    _say(
        f"{title}: {noticed} of {len(mutants)} mutants noticed ({noticed / len(mutants):.1%}), {endless} of them as "
        f"endless; {equals} change no result ({share:.1%} of the others); in {seconds:.0f} seconds"
    )
    return 0 if share >= ENOUGH else 1


def _line(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line} {mutant.function}: {mutant.change}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
