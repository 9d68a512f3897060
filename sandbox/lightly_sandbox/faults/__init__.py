"""Fault injection: which requests to the platform fail, and how."""
