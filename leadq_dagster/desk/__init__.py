"""The assignment desk: the right lead to the right agent in milliseconds, and to nobody else."""
