"""The desk over HTTP: one FastAPI application for the agents' screens and the supervisors."""
