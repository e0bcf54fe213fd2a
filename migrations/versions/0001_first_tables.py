"""The first tables: reference data, accounts and opening lots, the state machine, the immutable record.

Revision ID: 0001
Revises: none
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# The only clock of leases and due times. now() stands still during a transaction; tests redefine this to inject skew.
ENGINE_NOW = """
CREATE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()'
"""

# The same edges as prometheus.domain.phases.LEGAL_EDGES; a test compares the two.
PHASE_EDGES = """
CREATE FUNCTION check_phase_edge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.phase = OLD.phase THEN
        RETURN NEW;
    END IF;
    IF (OLD.phase, NEW.phase) IN (
        ('WAITING_FOR_DATA', 'DATA_READY'), ('DATA_READY', 'SNAPSHOT_BUILT'), ('SNAPSHOT_BUILT', 'SOLVED'),
        ('SOLVED', 'PERSISTED'), ('WAITING_FOR_DATA', 'FAILED'), ('DATA_READY', 'FAILED'),
        ('SNAPSHOT_BUILT', 'FAILED'), ('SOLVED', 'FAILED')
    ) THEN
        RETURN NEW;
    END IF;
    -- Re-opening a failed run is a deliberate, audited act: only the reset command sets this.
    IF (OLD.phase, NEW.phase) IN (('FAILED', 'WAITING_FOR_DATA'), ('FAILED', 'DATA_READY'))
       AND current_setting('prometheus.reset', true) = 'on' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'illegal phase edge % -> % of engine run %', OLD.phase, NEW.phase, OLD.run_id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'engine_runs_phase_edge';
END
$$
"""

PHASE_TRIGGER = """
CREATE TRIGGER engine_runs_phase_edge BEFORE UPDATE OF phase ON engine_runs
FOR EACH ROW EXECUTE FUNCTION check_phase_edge()
"""

REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Only the archive command sets this; what it may then do, row by row, the next function says.
    IF TG_TABLE_NAME IN ('runs', 'run_trades') AND TG_OP <> 'TRUNCATE'
       AND current_setting('prometheus.archive', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'append_only';
END
$$
"""

# Archiving takes documents and trades out of a run and says in which act. Every other column must stay as it is.
ARCHIVE_ONLY = """
CREATE FUNCTION archive_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'runs' AND TG_OP = 'UPDATE' THEN
        IF OLD.archive_id IS NULL AND NEW.archive_id IS NOT NULL
           AND to_jsonb(NEW) - '{archive_id,snapshot,params_snapshot,result}'::text[]
             = to_jsonb(OLD) - '{archive_id,snapshot,params_snapshot,result}'::text[] THEN
            RETURN NEW;
        END IF;
    ELSIF TG_TABLE_NAME = 'run_trades' AND TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM runs WHERE runs.run_id = OLD.run_id AND runs.archive_id IS NOT NULL) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % is no archiving', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'append_only';
END
$$
"""

# Every insert and every correction of an action gets the next number: what books have not looked at is told by it. By
# the owner's rights, for the engine's role has none on the sequence behind the column.
NUMBER_ACTION = """
CREATE FUNCTION number_action() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.change_id := nextval(pg_get_serial_sequence('corporate_actions', 'change_id'));
    RETURN NEW;
END
$$
"""

ACTION_TRIGGER = """
CREATE TRIGGER corporate_actions_number BEFORE UPDATE ON corporate_actions
FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION number_action()
"""

# What a message says and whom it concerns stays as it was written; only how far its delivery got may change, and once
# it was delivered not even that.
DELIVERY_ONLY = """
CREATE FUNCTION delivery_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    delivery CONSTANT text[] := '{attempt,next_attempt_at,taken_by,delivered_at,given_up_at,last_error,lease_token,'
                                'owner_instance,lease_expires_at}';
BEGIN
    IF OLD.delivered_at IS NULL AND NEW.lease_token >= OLD.lease_token
       AND to_jsonb(NEW) - delivery = to_jsonb(OLD) - delivery THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'message % of the outbox is not to be altered', OLD.message_id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'outbox_delivery_only';
END
$$
"""

APPEND_ONLY = (
    "archives",
    "audit_anchors",
    "blobs",
    "data_revisions",
    "engine_run_events",
    "opening_lots",
    "outbox_events",
    "risk_models",
    "run_trades",
    "runs",
    "strategies",
)


def upgrade() -> None:
    op.execute(ENGINE_NOW)
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("base_currency", sa.Text(), nullable=False),
        sa.Column("tax_regime", sa.Text(), nullable=False),
        sa.Column("lot_method", sa.Text(), nullable=False),
        sa.Column("benchmark_id", sa.Text(), nullable=False),
        sa.Column("st_rate", sa.Numeric(precision=16, scale=12), nullable=False),
        sa.Column("lt_rate", sa.Numeric(precision=16, scale=12), nullable=False),
        sa.Column("niit_rate", sa.Numeric(precision=16, scale=12), nullable=False),
        sa.Column("opening_cash", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("cash", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("fractional_shares", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("strategy_id", sa.Text(), server_default="tax-managed-index", nullable=False),
        sa.Column("books_as_of", sa.Date(), nullable=True),
        sa.Column("last_run_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paused", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("household", sa.Text(), nullable=True),
        sa.Column("account_type", sa.Text(), server_default="TAXABLE", nullable=False),
        sa.CheckConstraint(
            "account_type IN ('TAXABLE', 'IRA', 'ROTH', '401K', 'RRSP', 'TFSA')",
            name=op.f("ck_accounts_account_type"),
        ),
        sa.CheckConstraint(
            "lot_method IN ('HIFO', 'LEAST_TAX_FIRST', 'FIFO', 'ACB')", name=op.f("ck_accounts_lot_method")
        ),
        sa.CheckConstraint("tax_regime IN ('US', 'CA')", name=op.f("ck_accounts_tax_regime")),
        sa.CheckConstraint("cash >= 0", name=op.f("ck_accounts_cash_not_negative")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
    )
    op.create_index(op.f("ix_accounts_region"), "accounts", ["region"], unique=False)
    op.create_index(op.f("ix_accounts_household"), "accounts", ["household"], unique=False)
    op.create_table(
        "archives",
        sa.Column("archive_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("before_date", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("runs_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("archive_id", name=op.f("pk_archives")),
    )
    op.create_table(
        "audit_anchors",
        sa.Column("anchor_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("as_of_date", sa.Date(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("heads", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("anchor_id", name=op.f("pk_audit_anchors")),
        sa.UniqueConstraint("as_of_date", "digest", name=op.f("uq_audit_anchors_as_of_date_digest")),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("shape", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("length(sha256) = 32", name=op.f("ck_blobs_sha256_length")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "engine_hosts",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_engine_hosts")),
    )
    op.create_table(
        "due_tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "result", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_due_tasks")),
    )
    op.create_table(
        "engine_flags",
        sa.Column("flag_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frozen", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.Column("purpose", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("flag_id = 1", name=op.f("ck_engine_flags_one_row")),
        sa.PrimaryKeyConstraint("flag_id", name=op.f("pk_engine_flags")),
    )
    op.create_table(
        "ingest_files",
        sa.Column("file_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("rows_inserted", sa.BigInteger(), nullable=False),
        sa.Column("rows_revised", sa.BigInteger(), nullable=False),
        sa.Column("rows_unchanged", sa.BigInteger(), nullable=False),
        sa.Column("rows_skipped", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_ingest_files")),
    )
    op.create_table(
        "prices",
        sa.Column("security_id", sa.Integer(), nullable=False),
        sa.Column("price_date", sa.Date(), nullable=False),
        sa.Column("close", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("adj_close", sa.Numeric(precision=20, scale=8), nullable=True),
        sa.Column("volume", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("close > 0", name=op.f("ck_prices_close_positive")),
        sa.PrimaryKeyConstraint("security_id", "price_date", name=op.f("pk_prices")),
    )
    op.create_index("ix_prices_price_date", "prices", ["price_date"], unique=False)
    op.create_table(
        "securities",
        sa.Column("security_id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sector", sa.Text(), nullable=False),
        sa.Column("sub_industry", sa.Text(), server_default="", nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("first_date", sa.Date(), nullable=True),
        sa.Column("last_date", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("security_id", name=op.f("pk_securities")),
        sa.UniqueConstraint("ticker", name=op.f("uq_securities_ticker")),
    )
    op.create_table(
        "strategies",
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("tag_overrides", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.PrimaryKeyConstraint("strategy_id", "version", name=op.f("pk_strategies")),
    )
    op.create_table(
        "benchmark_constituents",
        sa.Column("benchmark_id", sa.Text(), nullable=False),
        sa.Column("effective_date", sa.Date(), nullable=False),
        sa.Column("security_id", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Numeric(precision=16, scale=12), nullable=False),
        sa.CheckConstraint("weight >= 0 AND weight <= 1", name=op.f("ck_benchmark_constituents_weight_fraction")),
        sa.ForeignKeyConstraint(
            ["security_id"], ["securities.security_id"], name=op.f("fk_benchmark_constituents_security_id")
        ),
        sa.PrimaryKeyConstraint(
            "benchmark_id", "effective_date", "security_id", name=op.f("pk_benchmark_constituents")
        ),
    )
    op.create_table(
        "borrow_rates",
        sa.Column("security_id", sa.Integer(), nullable=False),
        sa.Column("rate_date", sa.Date(), nullable=False),
        sa.Column("annual_rate", sa.Numeric(precision=16, scale=12), nullable=False),
        sa.ForeignKeyConstraint(["security_id"], ["securities.security_id"], name=op.f("fk_borrow_rates_security_id")),
        sa.PrimaryKeyConstraint("security_id", "rate_date", name=op.f("pk_borrow_rates")),
    )
    op.create_table(
        "corporate_actions",
        sa.Column("security_id", sa.Integer(), nullable=False),
        sa.Column("ex_date", sa.Date(), nullable=False),
        sa.Column("action_type", sa.Text(), nullable=False),
        sa.Column("value", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("other_ticker", sa.Text(), server_default="", nullable=False),
        sa.Column("basis_fraction", sa.Numeric(precision=16, scale=12), nullable=True),
        sa.Column("change_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["security_id"], ["securities.security_id"], name=op.f("fk_corporate_actions_security_id")
        ),
        sa.PrimaryKeyConstraint(
            "security_id", "ex_date", "action_type", "other_ticker", name=op.f("pk_corporate_actions")
        ),
    )
    op.create_index(op.f("ix_corporate_actions_ex_date"), "corporate_actions", ["ex_date"], unique=False)
    op.create_index(op.f("ix_corporate_actions_change_id"), "corporate_actions", ["change_id"], unique=False)
    op.execute(NUMBER_ACTION)
    op.execute(ACTION_TRIGGER)
    op.create_table(
        "data_revisions",
        sa.Column("revision_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("old_value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("new_value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["ingest_files.file_id"], name=op.f("fk_data_revisions_file_id")),
        sa.PrimaryKeyConstraint("revision_id", name=op.f("pk_data_revisions")),
    )
    op.create_index("ix_data_revisions_kind_key", "data_revisions", ["kind", "key"], unique=False)
    op.create_table(
        "engine_runs",
        sa.Column("run_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("as_of_date", sa.Date(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column(
            "phase_entered_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False
        ),
        sa.Column("phase_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("phase_completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="5", nullable=False),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False
        ),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "config", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(phase = 'FAILED') = (error IS NOT NULL) OR phase NOT IN ('FAILED', 'PERSISTED')",
            name=op.f("ck_engine_runs_error"),
        ),
        sa.CheckConstraint(
            "phase IN ('WAITING_FOR_DATA', 'DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED', 'PERSISTED', 'FAILED')",
            name=op.f("ck_engine_runs_phase"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_engine_runs_account_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_engine_runs")),
        sa.UniqueConstraint("as_of_date", "account_id", name="uq_engine_runs_as_of_date_account_id"),
    )
    op.create_index(
        "ix_engine_runs_active",
        "engine_runs",
        ["account_id", "as_of_date"],
        unique=False,
        postgresql_where=sa.text("phase NOT IN ('PERSISTED', 'FAILED')"),
    )
    op.create_index(
        "ix_engine_runs_in_work",
        "engine_runs",
        ["as_of_date", "next_attempt_at", "account_id"],
        unique=False,
        postgresql_where=sa.text("phase IN ('DATA_READY', 'SNAPSHOT_BUILT', 'SOLVED')"),
    )
    op.create_index(
        "ix_engine_runs_claimed",
        "engine_runs",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("owner_instance IS NOT NULL OR cancel_requested_at IS NOT NULL"),
    )
    op.create_table(
        "risk_models",
        sa.Column("risk_model_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("as_of_date", sa.Date(), nullable=False),
        sa.Column("built_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.Column("estimator", sa.Text(), nullable=False),
        sa.Column("sessions", sa.BigInteger(), nullable=False),
        sa.Column("tickers", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("loadings_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("specific_variance_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("specific_correlation_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("factor_covariance", sa.ARRAY(sa.Float(precision=53), dimensions=2), nullable=False),
        sa.Column("diagnostics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["loadings_sha256"], ["blobs.sha256"], name=op.f("fk_risk_models_loadings_sha256")),
        sa.ForeignKeyConstraint(
            ["specific_variance_sha256"], ["blobs.sha256"], name=op.f("fk_risk_models_specific_variance_sha256")
        ),
        sa.ForeignKeyConstraint(
            ["specific_correlation_sha256"], ["blobs.sha256"], name=op.f("fk_risk_models_specific_correlation_sha256")
        ),
        sa.PrimaryKeyConstraint("risk_model_id", name=op.f("pk_risk_models")),
    )
    op.create_index("ix_risk_models_as_of_date_built_at", "risk_models", ["as_of_date", "built_at"], unique=False)
    op.create_table(
        "opening_lots",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("lot_id", sa.Text(), nullable=False),
        sa.Column("security_id", sa.Integer(), nullable=False),
        sa.Column("acquired_on", sa.Date(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=24, scale=8), nullable=False),
        sa.Column("cost_basis", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_opening_lots_quantity_positive")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_opening_lots_account_id")),
        sa.ForeignKeyConstraint(["security_id"], ["securities.security_id"], name=op.f("fk_opening_lots_security_id")),
        sa.PrimaryKeyConstraint("account_id", "lot_id", name=op.f("pk_opening_lots")),
    )
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("as_of_date", sa.Date(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_alerts_account_id")),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_alerts_run_id")),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("run_id", "code", name=op.f("uq_alerts_run_id_code")),
    )
    op.create_table(
        "engine_run_events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_phase", sa.Text(), nullable=True),
        sa.Column("to_phase", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_engine_run_events_run_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_engine_run_events")),
    )
    op.create_index(op.f("ix_engine_run_events_run_id"), "engine_run_events", ["run_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("message_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False
        ),
        sa.Column("taken_by", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('ALERT', 'ANCHOR')", name=op.f("ck_outbox_kind")),
        sa.CheckConstraint("delivered_at IS NULL OR given_up_at IS NULL", name=op.f("ck_outbox_one_end")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_outbox_account_id")),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_outbox_run_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_outbox_idempotency_key")),
    )
    op.create_index(
        "ix_outbox_undelivered",
        "outbox",
        ["account_id", "message_id"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_table(
        "outbox_events",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner_instance", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("kind IN ('GIVEN_UP', 'RETRY')", name=op.f("ck_outbox_events_kind")),
        sa.ForeignKeyConstraint(["message_id"], ["outbox.message_id"], name=op.f("fk_outbox_events_message_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_outbox_events")),
    )
    op.create_index(op.f("ix_outbox_events_message_id"), "outbox_events", ["message_id"], unique=False)
    op.create_table(
        "runs",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("run_seq", sa.BigInteger(), nullable=False),
        sa.Column("as_of_date", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("solver", sa.Text(), nullable=False),
        sa.Column("solver_tolerance", sa.Double(), nullable=False),
        sa.Column("solver_status", sa.Text(), nullable=False),
        sa.Column("iterations", sa.BigInteger(), nullable=False),
        sa.Column("objective", sa.Double(), nullable=True),
        sa.Column("lower_bound", sa.Double(), nullable=True),
        sa.Column("gap_bps", sa.Double(), nullable=True),
        sa.Column("rounded_gap_bps", sa.Double(), nullable=True),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("library_versions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("strategy_id", sa.Text(), nullable=False),
        sa.Column("strategy_version", sa.Integer(), nullable=False),
        sa.Column("risk_model_id", sa.BigInteger(), nullable=False),
        sa.Column("loadings_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("specific_variance_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("params_snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("flags", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("digests", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("archive_id", sa.BigInteger(), nullable=True),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=True),
        sa.Column("run_hash", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.CheckConstraint("status IN ('OPTIMAL', 'NON_OPTIMAL')", name=op.f("ck_runs_status")),
        sa.CheckConstraint(
            "(archive_id IS NOT NULL) = (snapshot IS NULL) AND (archive_id IS NOT NULL) = (params_snapshot IS NULL) "
            "AND (archive_id IS NOT NULL) = (result IS NULL)",
            name=op.f("ck_runs_archived"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.account_id"], name=op.f("fk_runs_account_id")),
        sa.ForeignKeyConstraint(["archive_id"], ["archives.archive_id"], name=op.f("fk_runs_archive_id")),
        sa.ForeignKeyConstraint(["loadings_sha256"], ["blobs.sha256"], name=op.f("fk_runs_loadings_sha256")),
        sa.ForeignKeyConstraint(["risk_model_id"], ["risk_models.risk_model_id"], name=op.f("fk_runs_risk_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_runs_run_id")),
        sa.ForeignKeyConstraint(
            ["specific_variance_sha256"], ["blobs.sha256"], name=op.f("fk_runs_specific_variance_sha256")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("account_id", "as_of_date", name="uq_runs_account_id_as_of_date"),
        sa.UniqueConstraint("account_id", "run_seq", name="uq_runs_account_id_run_seq"),
    )
    op.create_table(
        "staged_snapshots",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("snapshot", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("risk_model_id", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["risk_model_id"], ["risk_models.risk_model_id"], name=op.f("fk_staged_snapshots_risk_model_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_staged_snapshots_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_staged_snapshots")),
    )
    op.create_table(
        "staged_solutions",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("engine_now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["engine_runs.run_id"], name=op.f("fk_staged_solutions_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_staged_solutions")),
    )
    op.create_table(
        "run_trades",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("trade_no", sa.Integer(), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("lot_id", sa.Text(), nullable=True),
        sa.Column("acquired_on", sa.Date(), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=24, scale=8), nullable=False),
        sa.Column("price", sa.Numeric(precision=20, scale=8), nullable=False),
        sa.Column("amount", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("cost", sa.Numeric(precision=20, scale=2), nullable=False),
        sa.Column("basis", sa.Numeric(precision=20, scale=2), nullable=True),
        sa.Column("realized_gain", sa.Numeric(precision=20, scale=2), nullable=True),
        sa.Column("term", sa.Text(), nullable=True),
        sa.Column("disallowed_loss", sa.Numeric(precision=20, scale=2), nullable=True),
        sa.Column("tax", sa.Numeric(precision=20, scale=2), nullable=True),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_run_trades_side")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_run_trades_quantity_positive")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_trades_run_id")),
        sa.PrimaryKeyConstraint("run_id", "trade_no", name=op.f("pk_run_trades")),
    )
    op.execute(PHASE_EDGES)
    op.execute(PHASE_TRIGGER)
    op.execute(REFUSE_CHANGE)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(ARCHIVE_ONLY)
    for table in ("runs", "run_trades"):
        op.execute(
            f"CREATE TRIGGER {table}_archive_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION archive_only()"
        )
    op.execute(DELIVERY_ONLY)
    op.execute(
        "CREATE TRIGGER outbox_delivery_only BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION delivery_only()"
    )
    op.execute(
        "CREATE TRIGGER outbox_kept BEFORE DELETE OR TRUNCATE ON outbox "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute("INSERT INTO engine_flags (flag_id) VALUES (1)")


def downgrade() -> None:
    raise RuntimeError("There is nothing before the first migration; drop the database instead.")
