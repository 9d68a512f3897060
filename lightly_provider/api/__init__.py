"""The Lightly REST API: operations as values, sent over HTTP. Independent of Airflow and AWS.

Paths, wire names, patterns and enums come from the vendor's last Python package with an API client, ``lightly`` 1.5.26
(module ``lightly/openapi_generated/swagger_client``).
"""
