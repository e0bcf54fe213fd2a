"""Sides of trades that open and close short positions; a payment in lieu of a dividend may overdraw an account.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SIDES = "side IN ('BUY', 'SELL', 'SELL_SHORT', 'BUY_TO_COVER')"
FORMER_SIDES = "side IN ('BUY', 'SELL')"
TABLES = ("run_trades", "order_executions")
#: Whoever books refuses to overdraw an account; the dividend of shares that it owes is charged all the same.
CASH = "ck_accounts_cash_not_negative"


def upgrade() -> None:
    _allow(SIDES)
    op.drop_constraint(op.f(CASH), "accounts", type_="check")


def downgrade() -> None:
    op.create_check_constraint(op.f(CASH), "accounts", sa.text("cash >= 0"))
    _allow(FORMER_SIDES)


def _allow(sides: str) -> None:
    for table in TABLES:
        name = op.f(f"ck_{table}_side")
        op.drop_constraint(name, table, type_="check")
        op.create_check_constraint(name, table, sa.text(sides))
