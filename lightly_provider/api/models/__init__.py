"""The models of requests to the platform (strict) and of its responses (lenient).

Only these models use the wire's camelCase: each field has a snake_case name in Python and its wire name as alias.
"""
