"""A requested selection, which the platform checks at scheduling and the worker executes.

It needs neither HTTP nor arrays: the platform uses it without numpy, the worker without the web framework.
"""
