"""Tax reports from postings: pure calculations, and renderers apart from them.

``tax_report`` is the way in. It gives each return its Form 8949 and Schedule D (US), or its Schedule 3 (Canada).
``compare_1099b`` compares a broker's form with our lines, ``txf_file`` writes what tax programs read, and ``tables``
prints it all. docs/specs/tax_reports.md has the rules and their sources. A calculation, not tax advice.
"""

from prometheus.ledger.reports.amounts import NOT_ADVICE, FilingStatus
from prometheus.ledger.reports.broker_view import BrokerFigures, broker_figures, figures_of_fold
from prometheus.ledger.reports.dispositions import disposition_lines
from prometheus.ledger.reports.form_1099b import (
    Comparison,
    Row1099B,
    compare_1099b,
    statement_figures,
    statement_reporting,
)
from prometheus.ledger.reports.form_8949 import BrokerReporting, Form8949Line, Reporting, box_totals, form_8949, merged
from prometheus.ledger.reports.lines import DispositionLine
from prometheus.ledger.reports.report import ReturnReport, TaxReport, tax_report
from prometheus.ledger.reports.returns import Carryover, Return, YearInput
from prometheus.ledger.reports.schedule_3 import NetCapitalLosses, Schedule3
from prometheus.ledger.reports.schedule_d import CarryoverWorksheet, ScheduleD, carryover_worksheet
from prometheus.ledger.reports.txf import TxfFile, txf_file

__all__ = [
    "NOT_ADVICE",
    "BrokerFigures",
    "BrokerReporting",
    "Carryover",
    "CarryoverWorksheet",
    "Comparison",
    "DispositionLine",
    "FilingStatus",
    "Form8949Line",
    "NetCapitalLosses",
    "Reporting",
    "Return",
    "ReturnReport",
    "Row1099B",
    "Schedule3",
    "ScheduleD",
    "TaxReport",
    "TxfFile",
    "YearInput",
    "box_totals",
    "broker_figures",
    "carryover_worksheet",
    "compare_1099b",
    "disposition_lines",
    "figures_of_fold",
    "form_8949",
    "merged",
    "statement_figures",
    "statement_reporting",
    "tax_report",
    "txf_file",
]
