"""What was handed to a data model of cuOpt, recorded or real, read back by its getters."""


def assert_round_trip(data_model, model):
    """Assert that every getter of a data model returns the bits that were handed over."""
    for getter, field in (
        ("get_constraint_matrix_values", "row_values"),
        ("get_constraint_matrix_indices", "row_indices"),
        ("get_constraint_matrix_offsets", "row_offsets"),
        ("get_constraint_bounds", "row_upper"),
        ("get_constraint_lower_bounds", "row_lower"),
        ("get_constraint_upper_bounds", "row_upper"),
        ("get_row_types", "row_types"),
        ("get_objective_coefficients", "linear"),
        ("get_quadratic_objective_values", "quadratic_values"),
        ("get_quadratic_objective_indices", "quadratic_indices"),
        ("get_quadratic_objective_offsets", "quadratic_offsets"),
        ("get_variable_lower_bounds", "lower"),
        ("get_variable_upper_bounds", "upper"),
    ):
        read, handed = getattr(data_model, getter)(), getattr(model, field)
        assert read.dtype == handed.dtype, field
        assert read.tobytes() == handed.tobytes(), field
