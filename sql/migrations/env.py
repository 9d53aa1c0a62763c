"""Runs the migrations on the connection that `leadq_dagster.store.migrations` opened.

One transaction holds the lock, the changes and the version, so several runners at once queue up behind
the first and then find nothing to do, and one that is killed leaves nothing behind.
"""

from alembic import context

MIGRATION_LOCK = 0x6C656164  # any number, as long as it is only this one: "lead"

connection = context.config.attributes["connection"]
# A name of our own: `alembic_version` may be another application's, such as Dagster's.
context.configure(
    connection=connection,
    version_table="leadq_migration",
    on_version_apply=lambda step, **_: context.config.attributes["ran"].append(step.up_revision_id),
)
with context.begin_transaction():
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    context.run_migrations()
