"""Orders of a run: the executions that name one, and the end of what was not filled.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("order_executions", "order_settlements")


def upgrade() -> None:
    op.create_table(
        "order_executions",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("trade_date", sa.Date(), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=24, scale=8), nullable=False),
        sa.Column("price", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("fee", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("lot_picks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_order_executions_side")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_executions_quantity_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_order_executions_account_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_order_executions_run_id")),
        sa.PrimaryKeyConstraint("account_id", "execution_id", name=op.f("pk_order_executions")),
    )
    op.create_index(op.f("ix_order_executions_run_id"), "order_executions", ["run_id"], unique=False)
    op.create_table(
        "order_settlements",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=False),
        sa.Column("orders", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("status IN ('EXPIRED', 'CANCELLED')", name=op.f("ck_order_settlements_status")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_order_settlements_account_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_order_settlements_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_order_settlements")),
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    raise RuntimeError("What was executed and settled is history and is not dropped.")
