"""Theirs: the firm's replica, read and never written."""
