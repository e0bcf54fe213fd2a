"""Small quadratic programs whose optimality can be checked from their data alone."""

import numpy as np

from prometheus.optimizer.backends.base import QuadraticProgram, SparseColumns


def columns(matrix) -> SparseColumns:
    """Return a dense matrix by columns, zeros left out."""
    matrix = np.asarray(matrix, dtype=float)
    column, row = np.nonzero(matrix.T)
    ends = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=matrix.shape[1]))])
    return SparseColumns(matrix[row, column], row.astype(np.int64), ends.astype(np.int64), matrix.shape)


def dense(matrix: SparseColumns) -> np.ndarray:
    """Return a matrix by columns as a dense one."""
    full = np.zeros(matrix.shape)
    full[matrix.indices, np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))] = matrix.data
    return full


def program(P, q, A, b, equalities=0, second_order=()) -> QuadraticProgram:
    """Return a program from dense matrices; of P only the upper triangle is read."""
    return QuadraticProgram(
        columns(np.triu(P)), np.asarray(q, float), columns(A), np.asarray(b, float), equalities, second_order
    )


def random_program(seed: int, size: int = 8, *, cones: tuple[int, ...] = (), diagonal: bool = False, bounds=True):
    """Return a feasible program: one budget, a box, a few shared rows, and cones around a feasible point."""
    random = np.random.default_rng(seed)
    half = random.normal(size=(size, size))
    P = np.diag(random.uniform(0.0, 2.0, size)) if diagonal else half @ half.T
    inside = random.dirichlet(np.ones(size))
    shared = random.normal(size=(3, size))
    rows = [np.ones((1, size)), shared, *([-np.eye(size), np.eye(size)] if bounds else [])]
    sides = [[1.0], shared @ inside + 0.05, *([np.zeros(size), np.full(size, 0.9)] if bounds else [])]
    for cone in cones:
        block = random.normal(size=(cone, size))
        point = random.normal(size=cone)
        point[0] = np.linalg.norm(point[1:]) + 0.01
        rows.append(block)
        sides.append(point + block @ inside)
    return program(P, random.normal(size=size), np.concatenate(rows), np.concatenate(sides), 1, cones)


def optimality_errors(problem: QuadraticProgram, x, z) -> dict[str, float]:
    """Return how far (x, z) is from each of the four conditions of optimality."""
    upper, A = dense(problem.P), dense(problem.A)
    P = upper + upper.T - np.diag(np.diag(upper))
    slack = problem.b - A @ x
    first, cone_rows = problem.first_cone, problem.cone_rows()
    dual = float(np.maximum(-z[problem.equalities : first], 0).max(initial=0.0))
    for rows in cone_rows:
        dual = max(dual, float(np.linalg.norm(z[rows][1:]) - z[rows][0]))
    return {
        "rows": problem.violation(x),
        "stationarity": float(np.abs(P @ x + problem.q + A.T @ z).max()),
        "multipliers": dual,
        "complementarity": abs(float(slack @ z)),
    }
