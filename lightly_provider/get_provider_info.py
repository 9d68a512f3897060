"""The provider's metadata for Airflow.

Plain data: this module has no imports, because Airflow calls it at startup.
"""

from __future__ import annotations

DEFAULT_HOST = "https://api.lightly.ai"
DEFAULT_WEB_URL = "https://app.lightly.ai"

# The only definition of the connection form. Airflow 3.3 reads it directly; for older versions, the hook's two form
# methods derive the form from it.
CONNECTION_FORM: dict = {  # type: ignore[type-arg]
    "connection-type": "lightly",
    "hook-class-name": "lightly_provider.hooks.lightly.LightlyHook",
    "hook-name": "Lightly",
    "ui-field-behaviour": {
        # The port is shown for the Test button of Airflow 3.3 alone: its page sends port 0 for a connection without a
        # port, and its API refuses a port other than the stored one together with a masked password (airflow 3.3.2,
        # core_api/routes/public/connections.py, `test_connection`). With a stored 0 it accepts both.
        "hidden-fields": ["login", "schema"],
        "relabeling": {"host": "API address", "password": "API token", "port": "Port (0: the address has it)"},
        "placeholders": {"host": DEFAULT_HOST, "port": "0, for the Test button of Airflow 3.3"},
    },
    "conn-fields": {
        "web_url": {
            "label": "Web address",
            "description": f"Where links to datasets and runs lead. Default: {DEFAULT_WEB_URL}",
            "schema": {"type": ["string", "null"], "format": "url"},
        },
        "ca_bundle": {
            "label": "CA bundle",
            "description": "Path on the workers of a PEM file with the certificate authorities to trust. "
            "Default: REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE of the workers' environment, else those of "
            "the requests library.",
            "schema": {"type": ["string", "null"]},
        },
        "proxies": {
            "label": "Proxies",
            "description": 'JSON object of proxy addresses by scheme, e.g. {"https": "http://proxy:3128"}. '
            "For other schemes, and by default: those of the workers' environment (HTTPS_PROXY, NO_PROXY).",
            "schema": {"type": ["string", "null"]},
        },
        "connect_timeout": {
            "label": "Connect timeout (s)",
            "description": "Seconds to wait for a connection to the platform. Default: 10.",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
        "read_timeout": {
            "label": "Read timeout (s)",
            "description": "Seconds until the platform's whole answer must be there. Default: 45.",
            "schema": {"type": ["integer", "null"], "minimum": 1},
        },
    },
}

# The asset scheme lightly://; Airflow 2.11 reads it under its older name.
_ASSET_URIS: list = [  # type: ignore[type-arg]
    {
        "schemes": ["lightly"],
        "handler": "lightly_provider.assets.sanitize_uri",
        "factory": "lightly_provider.assets.create_asset",
        "to_openlineage_converter": "lightly_provider.assets.convert_asset_to_openlineage",
    }
]


def get_provider_info() -> dict:  # type: ignore[type-arg]
    """Return the provider's metadata, in Airflow's provider_info schema."""
    return {
        "package-name": "airflow-provider-lightly",
        "name": "Lightly",
        "description": "From a bucket of images or videos in S3 to a curated Lightly dataset: configure, verify, run.",
        "connection-types": [CONNECTION_FORM],
        "extra-links": [
            "lightly_provider.links.LightlyDatasetLink",
            "lightly_provider.links.LightlyRunsLink",
        ],
        "integrations": [
            {
                "integration-name": "Lightly",
                "external-doc-url": "https://docs.lightly.ai",
                "tags": ["software"],
            }
        ],
        "asset-uris": _ASSET_URIS,
        "dataset-uris": _ASSET_URIS,
        "cli": ["lightly_provider.cli.commands.get_cli_commands"],
        "hooks": [{"integration-name": "Lightly", "python-modules": ["lightly_provider.hooks.lightly"]}],
        "operators": [
            {
                "integration-name": "Lightly",
                "python-modules": [
                    "lightly_provider.operators.access",
                    "lightly_provider.operators.cancellation",
                    "lightly_provider.operators.dataset",
                    "lightly_provider.operators.datasource",
                    "lightly_provider.operators.downloads",
                    "lightly_provider.operators.events",
                    "lightly_provider.operators.results",
                    "lightly_provider.operators.tag",
                    "lightly_provider.operators.uploads",
                    "lightly_provider.operators.verification",
                    "lightly_provider.operators.worker",
                    "lightly_provider.operators.worker_registration",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "Lightly",
                "python-modules": ["lightly_provider.sensors.events", "lightly_provider.sensors.worker"],
            }
        ],
        "triggers": [
            {
                "integration-name": "Lightly",
                "python-modules": [
                    "lightly_provider.triggers.events",
                    "lightly_provider.triggers.verification",
                    "lightly_provider.triggers.worker",
                ],
            }
        ],
    }
