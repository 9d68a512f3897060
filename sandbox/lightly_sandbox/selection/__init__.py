"""A selection as it is asked for: what the platform checks at scheduling and the worker carries out.

It knows neither HTTP nor arrays: the platform uses it without numpy, the worker without the web framework.
"""
