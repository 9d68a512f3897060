"""Faults on purpose: which requests of the platform fail, and how."""
