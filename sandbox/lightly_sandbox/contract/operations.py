"""Which requests a fault is for: one operation of the contract by its name, or all that fit a pattern."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache

_METHODS = frozenset({"*", "DELETE", "GET", "PATCH", "POST", "PUT"})
_DATASET = "/v1/datasets/{datasetId}"

# lightly 1.5.26, api/*.py: every operation by the name that the vendor's client calls it.
OPERATIONS = {
    "get_datasets": ("GET", "/v1/datasets"),
    "create_dataset": ("POST", "/v1/datasets"),
    "get_datasets_enriched": ("GET", "/v1/datasets/enriched"),
    "get_datasets_enriched_query_by_ids": ("GET", "/v1/datasets/enriched/query/ids"),
    "get_datasets_enriched_query_by_name": ("GET", "/v1/datasets/enriched/query/name/{datasetName}"),
    "get_datasets_query_by_name": ("GET", "/v1/datasets/query/name/{datasetName}"),
    "delete_dataset_by_id": ("DELETE", _DATASET),
    "get_dataset_by_id": ("GET", _DATASET),
    "update_dataset_by_id": ("PUT", _DATASET),
    "get_children_of_dataset_id": ("GET", f"{_DATASET}/children"),
    "get_shared_access_configs_by_dataset_id": ("GET", f"{_DATASET}/collaboration/access"),
    "create_or_update_shared_access_config_by_dataset_id": ("POST", f"{_DATASET}/collaboration/access"),
    "delete_shared_access_config_by_id": ("DELETE", f"{_DATASET}/collaboration/access/{{accessConfigId}}"),
    "get_datasource_by_dataset_id": ("GET", f"{_DATASET}/datasource"),
    "update_datasource_by_dataset_id": ("PUT", f"{_DATASET}/datasource"),
    "get_datasources_by_dataset_id": ("GET", f"{_DATASET}/datasource/all"),
    "get_custom_embedding_file_read_url_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/embeddings/file",
    ),
    "get_head_file_read_url_from_datasource_by_dataset_id": ("GET", f"{_DATASET}/datasource/fileHEAD"),
    "get_list_of_raw_samples_from_datasource_by_dataset_id": ("GET", f"{_DATASET}/datasource/list"),
    "get_divide_and_conquer_list_of_raw_samples_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/list/dnc",
    ),
    "get_metadata_file_read_url_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/metadata/file",
    ),
    "get_list_of_raw_samples_metadata_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/metadata/list",
    ),
    "get_divide_and_conquer_list_of_raw_samples_metadata_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/metadata/list/dnc",
    ),
    "get_prediction_file_read_url_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/predictions/file",
    ),
    "get_list_of_raw_samples_predictions_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/predictions/list",
    ),
    "get_divide_and_conquer_list_of_raw_samples_predictions_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/predictions/list/dnc",
    ),
    "get_prediction_file_write_url_from_datasource_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/predictions/writeUrl",
    ),
    "get_datasource_processed_until_timestamp_by_dataset_id": (
        "GET",
        f"{_DATASET}/datasource/processedUntilTimestamp",
    ),
    "update_datasource_processed_until_timestamp_by_dataset_id": (
        "PUT",
        f"{_DATASET}/datasource/processedUntilTimestamp",
    ),
    "get_resource_read_url_redirect": ("GET", f"{_DATASET}/datasource/readurlRedirect"),
    "verify_datasource_by_dataset_id": ("GET", f"{_DATASET}/datasource/verify"),
    "get_docker_runs_scheduled_by_dataset_id": ("GET", f"{_DATASET}/docker/worker/schedule"),
    "create_docker_run_scheduled_by_dataset_id": ("POST", f"{_DATASET}/docker/worker/schedule"),
    "cancel_scheduled_docker_run_state_by_id": ("PUT", f"{_DATASET}/docker/worker/schedule/{{scheduledId}}"),
    "update_scheduled_docker_run_state_by_id": (
        "PUT",
        f"{_DATASET}/docker/worker/{{workerId}}/schedule/{{scheduledId}}",
    ),
    "get_sample_mappings_by_dataset_id": ("GET", f"{_DATASET}/mappings"),
    "register_dataset_upload_by_id": ("PUT", f"{_DATASET}/registerDatasetUpload"),
    "get_samples_by_dataset_id": ("GET", f"{_DATASET}/samples"),
    "create_sample_by_dataset_id": ("POST", f"{_DATASET}/samples"),
    "get_samples_partial_by_dataset_id": ("GET", f"{_DATASET}/samples/partial"),
    "create_sample_with_write_urls_by_dataset_id": ("POST", f"{_DATASET}/samples/withWriteUrls"),
    "get_sample_by_id": ("GET", f"{_DATASET}/samples/{{sampleId}}"),
    "update_sample_by_id": ("PUT", f"{_DATASET}/samples/{{sampleId}}"),
    "get_sample_image_read_url_by_id": ("GET", f"{_DATASET}/samples/{{sampleId}}/readurl"),
    "get_sample_image_resource_redirect_by_id": ("GET", f"{_DATASET}/samples/{{sampleId}}/readurlRedirect"),
    "get_sample_image_write_url_by_id": ("GET", f"{_DATASET}/samples/{{sampleId}}/writeurl"),
    "get_sample_image_write_urls_by_id": ("GET", f"{_DATASET}/samples/{{sampleId}}/writeurls"),
    "get_tags_by_dataset_id": ("GET", f"{_DATASET}/tags"),
    "create_tag_by_dataset_id": ("POST", f"{_DATASET}/tags"),
    "perform_tag_arithmetics": ("POST", f"{_DATASET}/tags/arithmetics"),
    "perform_tag_arithmetics_bitmask": ("POST", f"{_DATASET}/tags/arithmetics/bitmask"),
    "create_initial_tag_by_dataset_id": ("POST", f"{_DATASET}/tags/initial"),
    "upsize_tags_by_dataset_id": ("POST", f"{_DATASET}/tags/upsize"),
    "delete_tag_by_tag_id": ("DELETE", f"{_DATASET}/tags/{{tagId}}"),
    "get_tag_by_tag_id": ("GET", f"{_DATASET}/tags/{{tagId}}"),
    "update_tag_by_tag_id": ("PUT", f"{_DATASET}/tags/{{tagId}}"),
    "export_tag_to_label_box_data_rows": ("GET", f"{_DATASET}/tags/{{tagId}}/export/LabelBox/datarows"),
    "export_tag_to_label_box_v4_data_rows": ("GET", f"{_DATASET}/tags/{{tagId}}/export/LabelBoxV4/datarows"),
    "export_tag_to_label_studio_tasks": ("GET", f"{_DATASET}/tags/{{tagId}}/export/LabelStudio/tasks"),
    "export_tag_to_sama_tasks": ("GET", f"{_DATASET}/tags/{{tagId}}/export/Sama/tasks"),
    "export_tag_to_basic_filenames": ("GET", f"{_DATASET}/tags/{{tagId}}/export/basic/filenames"),
    "export_tag_to_basic_filenames_and_read_urls": (
        "GET",
        f"{_DATASET}/tags/{{tagId}}/export/basic/filenamesAndReadUrls",
    ),
    "download_zip_of_samples_by_tag_id": ("GET", f"{_DATASET}/tags/{{tagId}}/export/zip"),
    "get_filenames_by_tag_id": ("GET", f"{_DATASET}/tags/{{tagId}}/filenames"),
    "post_docker_usage_stats": ("POST", "/v1/docker"),
    "post_docker_authorization_request": ("POST", "/v1/docker/authorization"),
    "get_docker_license_information": ("GET", "/v1/docker/licenseInformation"),
    "get_docker_runs": ("GET", "/v1/docker/runs"),
    "create_docker_run": ("POST", "/v1/docker/runs"),
    "get_docker_runs_count": ("GET", "/v1/docker/runs/count"),
    "get_docker_runs_query_by_dataset_id": ("GET", "/v1/docker/runs/query/datasetId/{datasetId}"),
    "get_docker_run_by_scheduled_id": ("GET", "/v1/docker/runs/schedule/{scheduledId}"),
    "get_docker_run_by_id": ("GET", "/v1/docker/runs/{runId}"),
    "update_docker_run_by_id": ("PUT", "/v1/docker/runs/{runId}"),
    "create_docker_run_artifact": ("POST", "/v1/docker/runs/{runId}/artifacts"),
    "confirm_docker_run_artifact_creation": (
        "PUT",
        "/v1/docker/runs/{runId}/artifacts/{artifactId}/confirmUpload",
    ),
    "get_docker_run_artifact_read_url_by_id": (
        "GET",
        "/v1/docker/runs/{runId}/artifacts/{artifactId}/readurl",
    ),
    "get_docker_run_logs_by_id": ("GET", "/v1/docker/runs/{runId}/logs"),
    "create_docker_run_log_by_id": ("PUT", "/v1/docker/runs/{runId}/logs"),
    "get_docker_run_report_read_url_by_id": ("GET", "/v1/docker/runs/{runId}/readReportUrl"),
    "get_docker_run_tags": ("GET", "/v1/docker/runs/{runId}/tags"),
    "get_docker_run_report_write_url_by_id": ("GET", "/v1/docker/runs/{runId}/writeReportUrl"),
    "get_docker_worker_registry_entries": ("GET", "/v1/docker/worker"),
    "register_docker_worker": ("POST", "/v1/docker/worker"),
    "get_docker_worker_configs": ("GET", "/v1/docker/worker/config"),
    "create_docker_worker_config": ("POST", "/v1/docker/worker/config"),
    "create_docker_worker_config_v2": ("POST", "/v1/docker/worker/config/v2"),
    "get_docker_worker_config_v2_by_id": ("GET", "/v1/docker/worker/config/v2/{configId}"),
    "create_docker_worker_config_v3": ("POST", "/v1/docker/worker/config/v3"),
    "get_docker_worker_config_v3_by_id": ("GET", "/v1/docker/worker/config/v3/{configId}"),
    "create_docker_worker_config_vx": ("POST", "/v1/docker/worker/config/vX"),
    "get_docker_worker_config_vxby_id": ("GET", "/v1/docker/worker/config/vX/{configId}"),
    "get_docker_worker_config_by_id": ("GET", "/v1/docker/worker/config/{configId}"),
    "update_docker_worker_config_by_id": ("PUT", "/v1/docker/worker/config/{configId}"),
    "get_default_or_register_worker": ("GET", "/v1/docker/worker/default"),
    "get_docker_runs_scheduled_by_state_and_labels": ("GET", "/v1/docker/worker/schedule"),
    "delete_docker_worker_registry_entry_by_id": ("DELETE", "/v1/docker/worker/{workerId}"),
    "get_docker_worker_registry_entry_by_id": ("GET", "/v1/docker/worker/{workerId}"),
    "update_docker_worker_registry_entry_by_id": ("PUT", "/v1/docker/worker/{workerId}"),
    "get_docker_runs_scheduled_by_worker_id": ("GET", "/v1/docker/worker/{workerId}/schedule"),
    "post_docker_worker_authorization_request": ("POST", "/v1/docker/workerAuthorization"),
    "get_quota_maximum_dataset_size": ("GET", "/v1/quota"),
    "get_latest_pip_version": ("GET", "/v1/versions/pip/latest"),
    "get_minimum_compatible_pip_version": ("GET", "/v1/versions/pip/minimum"),
}


_PARAMETER = re.compile(r"{[^/]+}")


def check(which: str) -> str:
    """Return ``which`` if it is an operation's name or a pattern.

    Raises:
        ValueError: it is neither.
    """
    method, _, path = which.partition(" ")
    if which in OPERATIONS or (method in _METHODS and path.startswith(("/", "*"))):
        return which
    raise ValueError(
        f"'{which}' is no operation of the contract and no pattern; give a name such as "
        "create_docker_run_scheduled_by_dataset_id, or a method and a path such as 'POST */schedule'"
    )


def fits(which: str, method: str, path: str) -> bool:
    """Whether a request is one that ``which`` names: an operation, or ``METHOD PATH``, ``*`` for anything.

    In a pattern's path ``*`` stands for slashes too, as a shell's does not.
    """
    if which in OPERATIONS:
        return operation_at(method, path) == which
    wanted, _, pattern = which.partition(" ")
    return wanted in ("*", method) and fnmatchcase(path, pattern)


def operation_at(method: str, path: str) -> str | None:
    """The name of the operation that a request is for; None for no operation of the contract."""
    fitting = [
        (_PARAMETER.sub("{", template), name)
        for name, (served, template) in OPERATIONS.items()
        if served == method and _template(template).fullmatch(path)
    ]
    # A literal part comes before a parameter in its place: /worker/schedule before /worker/{workerId}. The
    # brace sorts behind every letter.
    return min(fitting)[1] if fitting else None


def methods_at(path: str) -> list[str]:
    """The methods of the contract's operations at a path."""
    fitting = {template for _, template in OPERATIONS.values() if _template(template).fullmatch(path)}
    literal = min(fitting, key=lambda template: _PARAMETER.sub("{", template), default=None)
    return sorted(served for served, template in OPERATIONS.values() if template == literal)


@cache
def _template(template: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in _PARAMETER.split(template)))
