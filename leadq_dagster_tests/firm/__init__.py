"""Tests of the simulated firm."""
