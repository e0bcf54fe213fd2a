"""What is wrong with a row of a file, as a value a person can act on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect of one row (or of a whole file).

    Attributes:
        code: Stable word for the kind of defect, such as ``NEGATIVE_PRICE``.
        file: File name as given by the caller.
        line: Line in the file, the header being line 1; for Parquet the row number plus 1; None for the whole file.
        column: Column name, or None where the whole row or file is meant.
        value: The offending text, or None.
        reason: One sentence: what is wrong and what to do.
        fatal: False for a remark that does not stop the row from loading.
    """

    code: str
    file: str
    line: int | None
    column: str | None
    value: str | None
    reason: str
    fatal: bool = True
