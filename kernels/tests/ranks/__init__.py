"""Processes that are the ranks of a group, for tests."""
