"""The ledger: events, the postings that a fold of them gives, corrections of postings, and states kept for speed.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# States are no history: they are made anew from the events.
APPEND_ONLY = ("ledger_events", "ledger_corrections", "ledger_postings")


def upgrade() -> None:
    op.create_table(
        "ledger_events",
        sa.Column("event_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("household", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("trade_date", sa.Date(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=28, scale=9), nullable=True),
        sa.Column("amount", sa.Numeric(precision=28, scale=9), nullable=True),
        sa.Column("target_id", sa.Text(), nullable=True),
        sa.Column("change_id", sa.BigInteger(), nullable=True),
        sa.Column("content", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_name", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("(source = 'MARKET') = (household IS NOT NULL)", name=op.f("ck_ledger_events_market")),
        sa.CheckConstraint(
            "source IN ('OPENING', 'FILE', 'EXECUTION', 'MARKET', 'PERSON')", name=op.f("ck_ledger_events_source")
        ),
        sa.CheckConstraint("(account_id IS NULL) <> (household IS NULL)", name=op.f("ck_ledger_events_one_owner")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_ledger_events_account_id")),
        sa.PrimaryKeyConstraint("event_no", name=op.f("pk_ledger_events")),
        sa.UniqueConstraint("account_id", "event_id", name=op.f("uq_ledger_events_account_id_event_id")),
        sa.UniqueConstraint("household", "event_id", name=op.f("uq_ledger_events_household_event_id")),
    )
    op.create_index(
        "ix_ledger_events_account_id_trade_date", "ledger_events", ["account_id", "trade_date"], unique=False
    )
    op.create_index("ix_ledger_events_household_trade_date", "ledger_events", ["household", "trade_date"], unique=False)
    op.create_index(
        "ix_ledger_events_targets",
        "ledger_events",
        ["account_id", "household"],
        unique=False,
        postgresql_where=sa.text("target_id IS NOT NULL"),
    )
    op.create_table(
        "ledger_corrections",
        sa.Column("correction_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("household", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("told_by", sa.Text(), nullable=False),
        sa.Column("reversed", sa.BigInteger(), nullable=False),
        sa.Column("posted", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("correction_id", name=op.f("pk_ledger_corrections")),
    )
    op.create_index(op.f("ix_ledger_corrections_household"), "ledger_corrections", ["household"], unique=False)
    op.create_table(
        "ledger_postings",
        sa.Column("posting_no", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("fold_day", sa.Date(), nullable=False),
        sa.Column("event_account", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("lot_id", sa.Text(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=28, scale=9), nullable=False),
        sa.Column("cash", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("cost_basis", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("adjusted_basis", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("realized_gain", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("acquired_on", sa.Date(), nullable=True),
        sa.Column("holding_period_start", sa.Date(), nullable=True),
        sa.Column("fee", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("settle_date", sa.Date(), nullable=True),
        sa.Column("tax_date", sa.Date(), nullable=True),
        sa.Column("loss_event_account", sa.Text(), nullable=True),
        sa.Column("loss_event_id", sa.Text(), nullable=True),
        sa.Column("loss_account", sa.Text(), nullable=True),
        sa.Column("loss_lot_id", sa.Text(), nullable=True),
        sa.Column("loss_ticker", sa.Text(), nullable=True),
        sa.Column("loss_day", sa.Date(), nullable=True),
        sa.Column("loss_shares", sa.Numeric(precision=28, scale=9), nullable=True),
        sa.Column("loss_amount", sa.Numeric(precision=20, scale=2), nullable=True),
        sa.Column("replacement_account", sa.Text(), nullable=True),
        sa.Column("replacement_lot_id", sa.Text(), nullable=True),
        sa.Column("purchase_account", sa.Text(), nullable=True),
        sa.Column("purchase_event_id", sa.Text(), nullable=True),
        sa.Column("loss_is_permanent", sa.Boolean(), nullable=True),
        sa.Column("former_account", sa.Text(), nullable=True),
        sa.Column("former_lot_id", sa.Text(), nullable=True),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("correction_id", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("term IN ('SHORT', 'LONG', 'NONE')", name=op.f("ck_ledger_postings_term")),
        sa.CheckConstraint("fold_day >= day", name=op.f("ck_ledger_postings_fold_day")),
        sa.CheckConstraint(
            "reverses IS NULL OR correction_id IS NOT NULL", name=op.f("ck_ledger_postings_reversal_has_correction")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_ledger_postings_account_id")),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["ledger_corrections.correction_id"], name=op.f("fk_ledger_postings_correction_id")
        ),
        sa.ForeignKeyConstraint(["reverses"], ["ledger_postings.posting_no"], name=op.f("fk_ledger_postings_reverses")),
        sa.PrimaryKeyConstraint("posting_no", name=op.f("pk_ledger_postings")),
        sa.UniqueConstraint("reverses", name=op.f("uq_ledger_postings_reverses")),
    )
    op.create_index("ix_ledger_postings_account_id_day", "ledger_postings", ["account_id", "day"], unique=False)
    op.create_index(
        "ix_ledger_postings_account_id_fold_day", "ledger_postings", ["account_id", "fold_day"], unique=False
    )
    op.create_index(
        "ix_ledger_postings_account_id_tax_date",
        "ledger_postings",
        ["account_id", "tax_date"],
        unique=False,
        postgresql_where=sa.text("tax_date IS NOT NULL"),
    )
    op.create_index("ix_ledger_postings_account_id_ticker", "ledger_postings", ["account_id", "ticker"], unique=False)
    op.create_table(
        "ledger_states",
        sa.Column("household", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("format_version", sa.Integer(), nullable=False),
        sa.Column("accounts", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("actions_seen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("household", "day", name=op.f("pk_ledger_states")),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise RuntimeError("Events and postings are history and are not dropped.")
