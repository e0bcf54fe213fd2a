"""CUOPT against the recorded interface: a stand-in package in a real worker process, CPU only."""

import os
import socket
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from prometheus.foundation.errors import BackendUnavailableError, CertificateRejectedError, SolverFailedError
from prometheus.optimizer import rebalance
from prometheus.optimizer.backends import cuopt, cuopt_worker
from prometheus.optimizer.backends.base import backend_named
from prometheus.optimizer.backends.cuopt import CuoptBackend, check_available
from prometheus.optimizer.backends.cuopt_translation import settings, translate
from tests.unit.optimizer.backends.cuopt_getters import assert_round_trip
from tests.unit.optimizer.backends.programs import optimality_errors, program, random_program
from tests.unit.optimizer.problems import random_problem

RECORDED = Path(__file__).parent / "recorded_cuopt"
REMOTE = ("CUOPT_REMOTE_HOST", "CUOPT_REMOTE_PORT")


@pytest.fixture(autouse=True)
def _no_remote_host(monkeypatch):
    for name in (*REMOTE, "RECORDED_CUOPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recorded(monkeypatch):
    """Put the stand-in package on the path of this process and of its worker, with a device."""
    monkeypatch.syspath_prepend(RECORDED)
    monkeypatch.setattr(cuopt, "_has_device", lambda: True)


@pytest.fixture(scope="module")
def shared_backend():
    """A back-end whose process serves one test after the other."""
    solver = CuoptBackend(time_limit=20.0)
    yield solver
    solver.close()


@pytest.fixture
def backend(recorded, shared_backend):
    """Return the back-end that is shared; its process is started by the first test that solves."""
    return shared_backend


@pytest.fixture
def misbehaving(recorded, monkeypatch):
    """Return a function that solves a program, in this process, with a solver that misbehaves as told."""

    def solve(told, problem=None):
        monkeypatch.setenv("RECORDED_CUOPT", told)
        solver = CuoptBackend()
        monkeypatch.setattr(solver._worker, "solve", lambda model, chosen, _: cuopt_worker._answer(model, chosen))
        return solver.solve(problem or random_program(3), 1e-9)

    return solve


# ---------------------------------------------------------------- answers


def test_programs_are_solved_in_one_process_to_every_condition_of_optimality(backend):
    """One worker solves one program after the other, and point and multipliers prove each other optimal."""
    pids = set()
    for seed in range(6):
        problem = random_program(seed, diagonal=bool(seed % 2), bounds=seed != 4)
        answer = backend.solve(problem, 1e-9)
        pids.add(backend._worker._process.pid)
        errors = optimality_errors(problem, answer.x, answer.z)
        assert max(errors.values()) < 1e-6, errors
        assert (answer.status, answer.seconds) == ("Optimal", 0.25)
        assert answer.iterations > 0
    assert len(pids) == 1


@pytest.mark.parametrize("told", ["full prices", "our prices"])
def test_prices_of_any_convention_give_the_same_multipliers(misbehaving, told):
    """Whether or not the reported factor of two is there, the multipliers are those of the program."""
    problem = random_program(3)
    expected = backend_named("CLARABEL").solve(problem, 1e-11)
    assert misbehaving(told, problem).z == pytest.approx(expected.z, abs=1e-5)


@pytest.mark.parametrize("told", ["nan prices", "absurd prices"])
def test_useless_prices_do_not_spoil_a_good_point(misbehaving, told):
    """A point without usable prices is handed on with finite multipliers; the certificate judges it."""
    answer = misbehaving(told)
    assert np.isfinite(answer.z).all()
    assert answer.x == pytest.approx(backend_named("CLARABEL").solve(random_program(3), 1e-11).x, abs=1e-6)


def test_an_account_is_solved_with_the_same_certificate(recorded):
    """Through CUOPT an account gets the objective and the bound that the default solver finds."""
    problem = random_problem(7, names=60)
    try:
        through, direct = rebalance(problem, backend="CUOPT"), rebalance(problem)
    finally:
        cuopt.BACKEND.close()
    assert (through.facts.backend, through.facts.version) == ("CUOPT", "26.10.0")
    assert through.certificate.objective == pytest.approx(direct.certificate.objective, abs=1e-9)
    assert through.certificate.gap_bps == pytest.approx(direct.certificate.gap_bps, abs=1e-3)


def test_a_program_of_bounds_alone_is_solved(backend):
    """Without any row the model still has one, and the answer has the program's length."""
    answer = backend.solve(program(np.eye(2), [-3.0, 1.0], [[1.0, 0.0], [0.0, -1.0]], [1.0, 0.0]), 1e-9)
    assert answer.x == pytest.approx([1.0, 0.0], abs=1e-7)
    assert answer.z == pytest.approx([2.0, 1.0], abs=1e-6)


def test_a_cone_that_does_not_bind_is_no_obstacle(backend):
    """Where the optimum without the cone lies inside it, it is the optimum with it."""
    wide = program(np.eye(2), [-0.3, -0.4], [[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0], 0, (3,))
    answer = backend.solve(wide, 1e-9)
    assert answer.x == pytest.approx([0.3, 0.4], abs=1e-7)
    assert answer.z.tolist() == [0.0, 0.0, 0.0]


def test_a_cone_that_binds_is_refused_for_the_next_solver(backend):
    """Where the cone matters CUOPT says that it cannot hold it, and by how much."""
    tight = program(np.eye(2), [-3.0, -4.0], [[0.0, 0.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0], 0, (3,))
    with pytest.raises(SolverFailedError, match="outside by 4: use CLARABEL") as refused:
        backend.solve(tight, 1e-9)
    assert refused.value.code == "CONE_UNSUPPORTED"


# ---------------------------------------------------------------- answers that are none


@pytest.mark.parametrize(
    ("told", "error", "code", "sentence"),
    [
        ("empty", CertificateRejectedError, "ANSWER_EMPTY", "answered Optimal, but its point has nothing"),
        ("none", CertificateRejectedError, "ANSWER_EMPTY", "answered Optimal, but its point has nothing"),
        ("cut", CertificateRejectedError, "ANSWER_WRONG_LENGTH", "has shape"),
        ("nan", CertificateRejectedError, "ANSWER_NOT_FINITE", "holds nan at 1"),
        ("bad residuals", CertificateRejectedError, "ANSWER_BREAKS_ROWS", "Optimal, but its point breaks"),
        ("time limit", SolverFailedError, "TIME_LIMIT", "stopped with TimeLimit after 12 iterations"),
        ("out of memory", SolverFailedError, "SOLVER_FAILED", "stopped with Error .*: out of memory"),
        ("raise", SolverFailedError, "SOLVER_FAILED", "raised RuntimeError: cudssExecute failed"),
        ("no device", BackendUnavailableError, "BACKEND_UNAVAILABLE", "or choose the solver CLARABEL"),
        ("unreachable", BackendUnavailableError, "BACKEND_UNAVAILABLE", "cuopt_grpc_server runs there"),
    ],
)
def test_every_way_to_fail_is_an_error_of_ours(misbehaving, told, error, code, sentence):
    """Empty, cut, NaN or infeasible answers, limits and exceptions each have a sentence and a code."""
    with pytest.raises(error, match=sentence) as refused:
        misbehaving(told)
    assert refused.value.code == code


def test_a_process_that_dies_leaves_its_last_words(recorded, monkeypatch):
    """An abort inside the solver costs its own process, and what it wrote last is in our error."""
    monkeypatch.setenv("RECORDED_CUOPT", "abort")
    with pytest.raises(SolverFailedError, match=r"died .* OMP: Error #13") as failed:
        CuoptBackend().solve(random_program(0), 1e-9)
    assert failed.value.code == "SOLVER_CRASHED"


def test_infeasible_programs_keep_the_solvers_word(backend):
    """A status other than optimal is a failure that carries it."""
    with pytest.raises(SolverFailedError, match="PrimalInfeasible") as failed:
        backend.solve(program(np.eye(1), [0.0], [[1.0], [-1.0]], [-1.0, -1.0]), 1e-9)
    assert failed.value.details["status"] == "PrimalInfeasible"


def test_a_worker_that_hangs_is_ended(recorded, monkeypatch):
    """A solve that overruns its limit by far ends with the process that did not answer."""
    monkeypatch.setenv("RECORDED_CUOPT", "hang")
    monkeypatch.setattr(cuopt_worker, "_START", 0.3)
    monkeypatch.setattr(cuopt_worker, "_GRACE", 0.1)
    solver = CuoptBackend(time_limit=0.1)
    with pytest.raises(SolverFailedError, match=r"did not answer within 0\.5 seconds") as failed:
        solver.solve(random_program(0), 1e-9)
    assert failed.value.code == "TIME_LIMIT"
    assert solver._worker._process is None


def test_a_dead_worker_is_replaced(backend):
    """After its process has been killed the next solve starts another and answers."""
    first = backend.solve(random_program(1), 1e-9)
    backend._worker._process.kill()
    backend._worker._process.wait()
    again = backend.solve(random_program(1), 1e-9)
    assert again.x == pytest.approx(first.x, abs=1e-12)


def test_threads_share_the_one_process(backend):
    """Solves from several threads at once wait for each other and all get their own answers."""
    problems = [random_program(seed) for seed in range(4)]
    answers = {}

    def solve(i):
        answers[i] = backend.solve(problems[i], 1e-9)

    threads = [threading.Thread(target=solve, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, problem in enumerate(problems):
        assert problem.violation(answers[i].x) < 1e-7


def test_a_forked_child_leaves_the_parents_worker_alone(backend, monkeypatch):
    """A process that finds itself another than the one that started the worker starts its own."""
    backend.solve(random_program(0), 1e-9)
    worker = backend._worker
    theirs, connection = worker._process, worker._connection
    monkeypatch.setattr(worker, "_owner", os.getpid() + 1)
    assert worker._end() == ""
    backend.solve(random_program(0), 1e-9)
    assert worker._process.pid != theirs.pid
    assert theirs.poll() is None
    connection.close()
    assert theirs.wait(300) == 0


def test_settings_reach_the_solver_by_name_and_value(recorded):
    """Every parameter that is set is known to the recorded interface; a misspelt one is refused at once."""
    model = translate(random_program(0)).model
    facts, _ = cuopt_worker._answer(model, settings(1e-9, 10.0))
    assert facts["status"] == "Optimal"
    facts, arrays = cuopt_worker._answer(model, {"methode": 3})
    assert (facts["raised"], facts["message"]) == ("ValueError", "Invalid parameter. Please check documentation")
    assert arrays == {}
    facts, _ = cuopt_worker._answer(model, {"crossover": False})
    assert "not an integer" in facts["message"]


def test_everything_goes_through_the_getters_unchanged(recorded):
    """What is handed over can be read back from the data model, bit for bit."""
    from cuopt.linear_programming import DataModel

    data_model, model = DataModel(), translate(random_program(5)).model
    model.fill(data_model)
    assert_round_trip(data_model, model)


# ---------------------------------------------------------------- where it cannot run


def test_without_the_package_the_extra_is_named(monkeypatch):
    """A missing package is said, with what to install and what to choose instead."""
    monkeypatch.setattr(cuopt.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendUnavailableError, match=r"extra \[gpu\].*CLARABEL"):
        backend_named("CUOPT")


@pytest.mark.parametrize("version", ["25.12.1", "26.0", ""])
def test_an_old_package_is_refused_with_its_version(recorded, monkeypatch, version):
    """A release from before quadratic programs were supported is named."""
    monkeypatch.setattr(cuopt, "_version", lambda: version)
    with pytest.raises(BackendUnavailableError, match=f"26.02 or later.*{version or 'no known version'}"):
        check_available()


def test_version_is_that_of_whichever_package_is_installed(monkeypatch):
    """The distribution is found under any of its names, and no name gives no version."""

    def only(name):
        if name != "cuopt-cu13":
            raise metadata.PackageNotFoundError(name)
        return "26.12.0"

    monkeypatch.setattr(cuopt.metadata, "version", only)
    assert CuoptBackend().version() == "26.12.0"
    monkeypatch.setattr(cuopt, "_DISTRIBUTIONS", ("cuopt-cu12",))
    assert cuopt._version() == ""


def test_no_device_and_no_remote_host_are_said_together(recorded, monkeypatch):
    """Without a device the way to a remote one is named."""
    monkeypatch.setattr(cuopt, "_has_device", lambda: False)
    with pytest.raises(BackendUnavailableError, match=r"no NVIDIA device.*cuopt_grpc_server.*CUOPT_REMOTE_HOST"):
        check_available()


@pytest.mark.parametrize("given", REMOTE)
def test_half_a_remote_address_is_refused(recorded, monkeypatch, given):
    """A host without a port, or a port without a host, is not taken for either."""
    monkeypatch.setenv(given, "5001")
    with pytest.raises(BackendUnavailableError, match=f"has {given} but not"):
        check_available()


@pytest.mark.parametrize("port", ["closed", "no number", "99999999"])
def test_an_unreachable_remote_host_is_named(recorded, monkeypatch, port):
    """A host that does not answer is said by name and port, before any solve."""
    if port == "closed":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
    monkeypatch.setenv("CUOPT_REMOTE_HOST", "127.0.0.1")
    monkeypatch.setenv("CUOPT_REMOTE_PORT", port)
    with pytest.raises(BackendUnavailableError, match=f"cannot reach the remote host 127.0.0.1:{port}"):
        check_available()


def test_a_remote_host_needs_no_device(recorded, monkeypatch):
    """Where a remote host answers nobody looks for a device here."""
    monkeypatch.setattr(cuopt, "_has_device", lambda: pytest.fail("a device was looked for"))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        monkeypatch.setenv("CUOPT_REMOTE_HOST", "127.0.0.1")
        monkeypatch.setenv("CUOPT_REMOTE_PORT", str(server.getsockname()[1]))
        assert backend_named("CUOPT").name == "CUOPT"


def test_a_changed_interface_is_a_matter_of_installation(recorded, monkeypatch):
    """An import that fails, or a name that is gone, ends in advice and not in a traceback."""
    monkeypatch.setattr(cuopt_worker, "import_module", lambda _: object())
    facts, _ = cuopt_worker._answer(translate(random_program(0)).model, {})
    with pytest.raises(BackendUnavailableError, match=r"DataModel.*install cuopt-cu12"):
        cuopt._require_optimal(facts, 1e-9)


@pytest.mark.parametrize(("ends", "expected"), [(0, True), (1, False)])
def test_a_device_is_looked_for_in_a_process_of_its_own(monkeypatch, ends, expected):
    """The exit status of a separate process says whether there is a device."""
    asked = []

    def run(arguments, **_: object):
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, ends)

    monkeypatch.setattr(cuopt.subprocess, "run", run)
    assert cuopt._has_device.__wrapped__() is expected
    assert asked[0][0] == sys.executable


def test_a_probe_that_hangs_finds_nothing(monkeypatch):
    """A driver that does not answer is no device."""

    def run(*_: object, **__: object):
        raise subprocess.TimeoutExpired("probe", 1.0)

    monkeypatch.setattr(cuopt.subprocess, "run", run)
    assert cuopt._has_device.__wrapped__() is False


def test_importing_the_back_end_touches_neither_cuopt_nor_cuda():
    """With the stand-in on the path, importing and naming the back-end loads nothing of it."""
    script = "import sys; import prometheus.optimizer.backends.cuopt; sys.exit('cuopt' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(RECORDED), *filter(None, sys.path)])}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0
