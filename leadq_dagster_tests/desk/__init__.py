"""The assignment desk on real databases, and what its adversaries tried."""
