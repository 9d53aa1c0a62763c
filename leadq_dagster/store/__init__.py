"""Ours: PostgreSQL; the only code that executes statements on it."""
