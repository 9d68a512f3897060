"""What is sent to the platform (strict) and what it answers (lenient).

The wire's camelCase stays in here: each field has its snake_case name in Python and its wire name as alias.
"""
