"""Run migrations on the connection that prometheus.db.migrations hands over, or online by the alembic command."""

import os

from alembic import context

from prometheus.db.database import Database
from prometheus.db.models import Base


def run() -> None:
    """Configure the context and run inside the caller's transaction where there is one."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
        context.run_migrations()
        return
    # Developers only: `alembic revision --autogenerate` against a database named in the environment.
    url = os.environ.get("PROMETHEUS_DATABASE_URL")
    if not url:
        raise SystemExit("Set PROMETHEUS_DATABASE_URL; to migrate an embedded database run 'prometheus db upgrade'.")
    with Database(url).transaction() as own:
        context.configure(connection=own, target_metadata=Base.metadata, compare_type=True)
        context.run_migrations()


run()
