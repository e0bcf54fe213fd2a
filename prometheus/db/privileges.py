"""The role of the engine: it owns nothing, and may only append to append-only tables."""

from typing import Final

from sqlalchemy import Connection, text

#: Fixed, so that an operator needs only one GRANT to a login.
ENGINE_ROLE: Final = "prometheus_engine"

# Where the role is absent, not granted to us, or without rights in this database yet, the session keeps the login's
# role.
_TAKE: Final = (
    "SELECT set_config('role', rolname, false) FROM pg_roles WHERE rolname = %s "
    "AND pg_has_role(session_user, oid, 'MEMBER') "
    "AND coalesce(has_table_privilege(oid, to_regclass('public.alembic_version'), 'SELECT'), false)"
)
# Tables whose triggers refuse UPDATE, DELETE and TRUNCATE are append-only.
_TABLES: Final = text("""
    SELECT tablename, EXISTS (SELECT 1 FROM pg_trigger
                              WHERE tgrelid = format('%I.%I', schemaname, tablename)::regclass
                                AND tgname = tablename || '_append_only') AS append_only
    FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename
""")
_POSSIBLE: Final = text(
    "SELECT 1 FROM pg_roles WHERE rolname = :role AND current_setting('transaction_read_only') = 'off'"
)
#: Written by their owner alone.
_OWNERS: Final = frozenset({"alembic_version", "archives"})
#: Messages do not change; the engine may change only the columns of their delivery.
_DELIVERY: Final = (
    "attempt, next_attempt_at, taken_by, delivered_at, given_up_at, last_error, lease_token, owner_instance, "
    "lease_expires_at"
)
#: ANALYZE after a large load; before this version the statistics wait for autovacuum.
_MAINTAIN_SINCE: Final = 17


def take_role_sql() -> str:
    """Return the statement that gives a new session the engine's role where it may; one parameter, the role."""
    return _TAKE


def grant_engine_role(connection: Connection) -> bool:
    """Give the engine's role its rights on every table; return False where there is no such role, or on a replica.

    To be called by the tables' owner. Rights given earlier are withdrawn first, so the result is always the same.
    """
    possible = connection.execute(_POSSIBLE, {"role": ENGINE_ROLE})
    if possible.one_or_none() is None:
        return False
    version: int = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    maintain = ", MAINTAIN" if version // 10_000 >= _MAINTAIN_SINCE else ""
    connection.execute(text(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ENGINE_ROLE}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {ENGINE_ROLE}"))
    for table, append_only in connection.execute(_TABLES).all():
        if table in _OWNERS:
            rights = "SELECT"
        elif table == "outbox":
            rights = f"SELECT, INSERT, UPDATE ({_DELIVERY}){maintain}"
        elif append_only:
            rights = f"SELECT, INSERT{maintain}"
        else:
            rights = f"SELECT, INSERT, UPDATE, DELETE{maintain}"
        connection.execute(text(f'GRANT {rights} ON "{table}" TO {ENGINE_ROLE}'))
    return True


def current_role(connection: Connection) -> str:
    """Return the role this session works as."""
    role: str = connection.execute(text("SELECT current_user")).scalar_one()
    return role
