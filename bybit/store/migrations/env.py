"""Runs the migrations on the connection that the store hands over.

Nothing here configures logging or opens a connection: the store owns both the transaction and the engine.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
