"""Alembic's entry: runs the migrations over the connection that `daemon.store.migrate` hands in."""

from alembic import context

from daemon.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
