# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# ruff: noqa: INP001 - Alembic wants it beside alembic.ini
"""Alembic's entry: runs the migrations on the connection that ``schema.runner`` opened."""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("run `python main.py`: it waits for the database and takes the lock")

# One transaction for each migration: a failing one leaves the earlier ones and nothing of itself.
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
