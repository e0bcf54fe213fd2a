"""Many random problem files, or many attacks on single fields of them, each under a limit of processor time.

    python -m tests.problem_files.prove --problems 10000 --attacks 3000 --workers 2

A child works a list of seeds off and writes a line for each. Its kernel ends it where one takes more than ten seconds
of processor time, inside a compiled loop as well; that seed is a hang, and another child goes on behind it.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECONDS = 10.0
#: Gap after rounding, bps, above which a realistic account is counted.
WIDE = 5.0


def answer_of(raw: bytes) -> dict[str, Any]:
    """Return the result of a problem file, or ``refused`` with the message, or ``failed`` with the traceback."""
    from prometheus.decision.problem_file.answer import answer_problem
    from prometheus.decision.problem_file.reading import read_problem
    from prometheus.foundation.errors import FileRefusedError, PrometheusError

    try:
        return dict(answer_problem(read_problem(raw, "problem.json")).document)
    except FileRefusedError as error:
        return {"refused": error.message, "details": error.details}
    except PrometheusError as error:
        return {"refused": error.message, "code": error.code}
    except Exception:  # noqa: BLE001 -- whatever escapes is what is looked for
        return {"failed": traceback.format_exc()}


def judged_problem(seed: int) -> dict[str, Any]:
    """Solve the problem of a seed and check the answer."""
    from tests.problem_files.checker import complaints
    from tests.problem_files.generator import KINDS, problem

    document = problem(seed)
    result = json.loads(json.dumps(answer_of(json.dumps(document).encode())))
    kind = KINDS[seed % len(KINDS)]
    if "status" not in result:
        return {"kind": kind, "outcome": "FAILED", "wrong": [str(result)[-1500:]]}
    wrong = complaints(document, result)
    verdict = {"kind": kind, "outcome": result["status"], "wrong": wrong}
    if result["failures"]:
        verdict["code"] = result["failures"][-1]["code"]
    if result["status"] == "OPTIMAL":
        verdict["gap"], verdict["allowance"] = result["rounded_gap_bps"], result["rounding_allowance_bps"]
        if result["rounded_gap_bps"] > WIDE and not result["rounding_reason"]:
            wrong.append("a wide gap after rounding has no reason")
    return verdict


def judged_attack(seed: int) -> dict[str, Any]:
    """Attack one field of a file and see that it is refused with its path, or solved."""
    from tests.problem_files.attacks import UNCHECKED, attack
    from tests.problem_files.checker import complaints

    raw, path, what, document = attack(seed)
    result = answer_of(raw)
    verdict: dict[str, Any] = {"kind": what, "outcome": "REFUSED", "wrong": []}
    if "failed" in result:
        return verdict | {"outcome": "FAILED", "wrong": [f"{path} {what}: {result['failed'][-1500:]}"]}
    if "refused" in result:
        said = result["refused"]
        if not said or ("$" not in said and "cannot be read" not in said and "params.solver" not in said):
            verdict["wrong"] = [f"{path} {what}: refused without a path: {said}"]
        return verdict
    verdict["outcome"] = result["status"]
    if document is not None and what not in UNCHECKED:
        result = json.loads(json.dumps(result))
        verdict["wrong"] = [f"{path} {what}: {item}" for item in complaints(document, result)]
    return verdict


def say(text: str, *, progress: bool = False) -> None:
    """Write a line: what was found, or how far it is."""
    stream = sys.stderr if progress else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def work(what: str, seeds: list[int]) -> None:
    """Judge seeds one after the other, a line of JSON for each."""
    judge = judged_attack if what == "attacks" else judged_problem
    # the default action ends the process, also inside a loop that never looks at Python
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for seed in seeds:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        verdict = judge(seed)
        signal.setitimer(signal.ITIMER_PROF, 0)
        say(json.dumps({"seed": seed, **verdict}))


def judged(what: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Judge seeds in children that a hang ends."""
    verdicts: list[dict[str, Any]] = []
    rest = seeds
    while rest:
        child = subprocess.run(
            [sys.executable, "-m", "tests.problem_files.prove", "--work", what],
            input=json.dumps(rest),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in child.stdout.splitlines()]
        verdicts += lines
        if len(lines) == len(rest):
            break
        hit = rest[len(lines)]
        hung = child.returncode == -signal.SIGPROF
        outcome = "HUNG" if hung else "DIED"
        verdicts.append({"seed": hit, "kind": "", "outcome": outcome, "wrong": [f"{outcome} {child.stderr[-800:]}"]})
        rest = rest[len(lines) + 1 :]
    return verdicts


def prove(what: str, count: int, first: int, workers: int) -> bool:
    """Judge ``count`` seeds, print what was found and say whether all is well."""
    parts = [list(range(first + i, min(first + i + 50, first + count))) for i in range(0, count, 50)]
    began, verdicts = time.monotonic(), []
    with ThreadPoolExecutor(workers) as pool:
        for number, part in enumerate(pool.map(lambda seeds: judged(what, seeds), parts), start=1):
            verdicts += part
            bad = sum(bool(item["wrong"]) for item in verdicts)
            say(f"{what}: {len(verdicts)} of {count}, {bad} wrong ({number}/{len(parts)})", progress=True)
    say(f"{what}: {len(verdicts)} judged in {time.monotonic() - began:.0f} s, by outcome:")
    for (outcome, code), number in sorted(
        Counter((item["outcome"], item.get("code", "")) for item in verdicts).items()
    ):
        kinds = Counter(item["kind"] for item in verdicts if (item["outcome"], item.get("code", "")) == (outcome, code))
        listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(4))
        say(f"  {outcome} {code}: {number} ({listed})")
    real = [item for item in verdicts if item["kind"] == "realistic" and "gap" in item]
    if what == "problems" and real:
        wide = [item for item in real if item["gap"] > WIDE]
        listed = "".join(f"; seed {item['seed']} {item['gap']:.1f} ({item['allowance']:.1f} allowed)" for item in wide)
        say(f"  realistic accounts: {len(real)}, gap after rounding above {WIDE:g} bps: {len(wide)}{listed}")
    wrong = [item for item in verdicts if item["wrong"]]
    for item in wrong:
        say(f"  seed {item['seed']} ({item['kind']}, {item['outcome']}): {'; '.join(item['wrong'])}")
    say(f"{what}: {'nothing wrong' if not wrong else f'{len(wrong)} wrong'}")
    return not wrong


def main() -> int:
    """Judge what the command line asks for; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=0)
    parser.add_argument("--attacks", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", choices=("problems", "attacks"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, json.loads(sys.stdin.read()))
        return 0
    well = True
    for what in ("problems", "attacks"):
        if getattr(given, what):
            well = prove(what, getattr(given, what), given.first, given.workers) and well
    return 0 if well else 1


if __name__ == "__main__":
    assert Path("prometheus").is_dir(), "run it from the repository's root"
    sys.exit(main())
