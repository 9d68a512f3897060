"""The Lightly REST API: operations as values, sent over HTTP. Knows nothing of Airflow or AWS.

The facts (paths, wire names, patterns, enums) are those of the vendor's last Python client that had an API
client of its own, ``lightly`` 1.5.26 (module ``lightly/openapi_generated/swagger_client``).
"""
