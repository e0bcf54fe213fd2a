"""Tables as SQLAlchemy models; importing this package fills ``Base.metadata``."""

from prometheus.db.models.base import Base
from prometheus.db.models.books import AccountRow, OpeningLotRow
from prometheus.db.models.engine import (
    AlertRow,
    ArchiveRow,
    AuditAnchorRow,
    DueTaskRow,
    EngineFlagRow,
    EngineHostRow,
    EngineRunEventRow,
    EngineRunRow,
    RunRow,
    RunTradeRow,
    StagedSnapshotRow,
    StagedSolutionRow,
    StrategyRow,
)
from prometheus.db.models.ledger import LedgerCorrectionRow, LedgerEventRow, LedgerPostingRow, LedgerStateRow
from prometheus.db.models.orders import OrderExecutionRow, OrderSettlementRow
from prometheus.db.models.outbox import OutboxEventRow, OutboxRow
from prometheus.db.models.reference import (
    BenchmarkConstituentRow,
    BorrowRateRow,
    CorporateActionRow,
    DataRevisionRow,
    IngestFileRow,
    PriceRow,
    SecurityRow,
)
from prometheus.db.models.risk import BlobRow, RiskModelRow

__all__ = [
    "AccountRow",
    "AlertRow",
    "ArchiveRow",
    "AuditAnchorRow",
    "Base",
    "BenchmarkConstituentRow",
    "BlobRow",
    "BorrowRateRow",
    "CorporateActionRow",
    "DataRevisionRow",
    "DueTaskRow",
    "EngineFlagRow",
    "EngineHostRow",
    "EngineRunEventRow",
    "EngineRunRow",
    "IngestFileRow",
    "LedgerCorrectionRow",
    "LedgerEventRow",
    "LedgerPostingRow",
    "LedgerStateRow",
    "OpeningLotRow",
    "OrderExecutionRow",
    "OrderSettlementRow",
    "OutboxEventRow",
    "OutboxRow",
    "PriceRow",
    "RiskModelRow",
    "RunRow",
    "RunTradeRow",
    "SecurityRow",
    "StagedSnapshotRow",
    "StagedSolutionRow",
    "StrategyRow",
]
