import numpy as np
import pytest
from scipy.sparse import csr_array

from prometheus.foundation.errors import InvalidProblemError
from prometheus.optimizer.backends import cuopt_translation
from prometheus.optimizer.backends.base import QuadraticProgram, backend_named
from prometheus.optimizer.backends.cuopt_translation import require_convex, settings, translate
from tests.unit.optimizer.backends.programs import columns, dense, optimality_errors, program, random_program


def _rows(model):
    return csr_array(
        (model.row_values, model.row_indices, model.row_offsets), shape=(len(model.row_upper), len(model.linear))
    ).toarray()


def _quadratic(model):
    n = len(model.linear)
    return csr_array((model.quadratic_values, model.quadratic_indices, model.quadratic_offsets), shape=(n, n)).toarray()


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_objective_has_no_half_and_a_full_matrix(seed, diagonal):
    """The value x'Qx + c'x equals x'Px/2 + q'x at any point, with Q symmetric."""
    problem = random_program(seed, diagonal=diagonal)
    model = translate(problem).model
    x = np.random.default_rng(seed).normal(size=8)
    upper = dense(problem.P)
    P = upper + upper.T - np.diag(np.diag(upper))
    assert x @ _quadratic(model) @ x + model.linear @ x == pytest.approx(0.5 * x @ P @ x + problem.q @ x)
    assert (_quadratic(model) == _quadratic(model).T).all()


@pytest.mark.parametrize("seed", range(4))
def test_feasible_sets_are_equal(seed):
    """A point meets the model's rows and bounds exactly when it meets the program's rows."""
    problem = random_program(seed, cones=())
    model = translate(problem).model
    random = np.random.default_rng(seed)
    for _ in range(200):
        x = random.dirichlet(np.ones(8)) + (random.random() < 0.5) * random.normal(0, 0.02, 8)
        rows = _rows(model) @ x
        theirs = max(
            (rows - model.row_upper).max(),
            (model.row_lower - rows).max(),
            (x - model.upper).max(),
            (model.lower - x).max(),
        )
        assert max(theirs, 0.0) == pytest.approx(problem.violation(x), abs=1e-12)


def test_types_and_bounds_are_explicit():
    """Indices have 32 bits, numbers 64, every variable and row has both bounds, and row letters agree with them."""
    model = translate(random_program(0)).model
    for name in ("row_indices", "row_offsets", "quadratic_indices", "quadratic_offsets"):
        assert getattr(model, name).dtype == np.int32
    for name in ("row_values", "quadratic_values", "linear", "lower", "upper", "row_lower", "row_upper"):
        assert getattr(model, name).dtype == np.float64
    assert model.lower == pytest.approx(np.zeros(8))
    assert model.upper == pytest.approx(np.full(8, 0.9))
    assert model.row_types.tolist() == ["E", "L", "L", "L"]
    assert model.row_lower.tolist() == [1.0, -np.inf, -np.inf, -np.inf]


def test_rows_of_one_variable_become_its_tightest_bounds():
    """Of several bounds the tightest holds, an unbounded side stays infinite, and an equation stays a row."""
    rows = [[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [-1.0, 0.0], [0.0, -2.0], [0.0, -4.0]]
    translated = translate(program(np.eye(2), [0.0, 0.0], rows, [0.5, 2.0, 2.0, 3.0, 2.0, 8.0], 1))
    assert translated.kept.tolist() == [0]
    assert translated.model.upper.tolist() == [0.5, np.inf]
    assert translated.model.lower.tolist() == [-3.0, -1.0]
    assert translated.upper_row.tolist() == [2, -1]
    assert translated.lower_row.tolist() == [3, 4]


@pytest.mark.parametrize("scale", [-1.0, -0.5, -2.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_multipliers_are_recovered_from_prices_of_any_convention(seed, scale):
    """Row prices with either sign, at full, half or double size, become multipliers that prove the point optimal."""
    problem = random_program(seed)
    honest = backend_named("CLARABEL").solve(problem, 1e-12)
    translated = translate(problem)
    z = translated.multipliers(honest.x, scale * honest.z[translated.kept])
    errors = optimality_errors(problem, honest.x, z)
    assert max(errors.values()) < 1e-6, errors
    assert z == pytest.approx(honest.z, abs=1e-5)


@pytest.mark.parametrize("prices", [np.zeros(0), np.full(4, np.nan), np.full(3, 1.0), np.full(4, 1e9)])
def test_unusable_prices_count_as_zero(prices):
    """Missing, cut, NaN or absurd prices leave finite multipliers with the right signs."""
    problem = random_program(2)
    translated = translate(problem)
    z = translated.multipliers(backend_named("CLARABEL").solve(problem, 1e-10).x, prices)
    assert np.isfinite(z).all()
    assert (z[1:] >= 0).all()
    assert (z[:4] == 0).all()


def test_a_program_without_rows_gets_one():
    """Bounds alone leave no row, and then a variable held at zero brings one; the point comes back without it."""
    boxed = program(np.eye(2), [-3.0, 1.0], [[1.0, 0.0], [0.0, -1.0]], [1.0, 0.0])
    translated = translate(boxed)
    model = translated.model
    assert translated.padded
    assert _rows(model).tolist() == [[0.0, 0.0, 1.0]]
    assert (model.row_lower.tolist(), model.row_upper.tolist()) == ([0.0], [0.0])
    assert _quadratic(model).shape == (3, 3)
    assert translated.point(np.array([1.0, 0.0, 0.0])).tolist() == [1.0, 0.0]
    assert translated.point(np.zeros(0)).size == 0
    z = translated.multipliers(np.array([1.0, 0.0]), np.zeros(1))
    assert z == pytest.approx([2.0, 1.0])


def test_a_linear_program_has_no_quadratic_part():
    """Without curvature nothing quadratic is handed over."""
    seen = []

    class _Recorder:
        def __getattr__(self, name) -> object:
            return lambda *_: seen.append(name)

    translate(program(np.zeros((2, 2)), [1.0, 1.0], [[1.0, 1.0]], [1.0], 1)).model.fill(_Recorder())
    assert "set_quadratic_objective_matrix" not in seen
    assert len(seen) == 8


def test_cones_are_left_out():
    """Rows of a cone become neither rows nor bounds of the model."""
    problem = random_program(1, cones=(4,))
    translated = translate(problem)
    assert translated.kept.max() < problem.first_cone
    assert len(translated.model.row_upper) == 4
    z = translated.multipliers(np.full(8, 0.1), np.zeros(4))
    assert (z[problem.first_cone :] == 0).all()


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.0, -1e-3]),
        np.array([[1.0, 2.0], [2.0, 1.0]]),
        np.array([[0.0, 1.0], [1.0, 5.0]]),
        np.diag([2.0, 2.0, 2.0]) - 1.5 * (np.eye(3, k=1) + np.eye(3, k=-1)),
    ],
    ids=str,
)
def test_a_form_that_is_not_convex_is_refused(matrix):
    """The solver does not look at the eigenvalues; here a negative one is an error."""
    with pytest.raises(InvalidProblemError, match="not convex"):
        require_convex(columns(np.triu(matrix)))


def test_semidefinite_forms_pass():
    """A singular form, an empty one and one without a dominant diagonal are convex."""
    half = np.random.default_rng(0).normal(size=(6, 2))
    for matrix in (half @ half.T, np.zeros((3, 3)), np.eye(4)):
        require_convex(columns(np.triu(matrix)))


def test_too_many_entries_for_32_bits_are_refused(monkeypatch):
    """A stack that cuOpt could not count is refused before it is copied."""
    monkeypatch.setattr(cuopt_translation, "_MOST_ENTRIES", 20)
    with pytest.raises(InvalidProblemError, match="Stack fewer"):
        translate(random_program(0))


def test_settings_are_whole_numbers_and_tight():
    """The barrier alone, no word on the console, and the caller's tolerance in every place where cuOpt has its own."""
    chosen = settings(1e-9, 30.0)
    assert (chosen["method"], chosen["presolve"], chosen["crossover"], chosen["log_to_console"]) == (3, 0, 0, 0)
    assert chosen["cudss_deterministic"] == 1
    assert chosen["time_limit"] == 30.0
    assert [name for name, value in chosen.items() if value == 1e-9 and name.endswith("_tolerance")] == [
        f"{kind}_{what}_tolerance" for kind in ("absolute", "relative") for what in ("primal", "dual", "gap")
    ]
    assert not any(isinstance(value, bool) for value in chosen.values())
    assert settings(0.5, 1.0)["relative_gap_tolerance"] == 0.1


def test_the_model_travels_by_name():
    """The arrays that go to the worker are those of the model, and build the same model there."""
    model = translate(random_program(0)).model
    again = cuopt_translation.CuoptModel(**model.arrays())
    assert isinstance(translate(random_program(0)).program, QuadraticProgram)
    for name, array in model.arrays().items():
        assert (getattr(again, name) == array).all()
