"""
### One round of active learning: a model chooses the images that are worth labeling

Each run of this DAG is one round:

1. `predict`: your model predicts the class of each image; here a small classifier that learns from the labels so far.
2. `upload_predictions`: the predictions go to Lightly.
3. `run_worker`: Lightly selects the images of which the model is least certain, in equal shares of the predicted
   classes, and not the same motif again and again.
4. `approve`, only if `ASK_FOR_APPROVAL` is set: a person decides whether the images are labeled, before that costs
   money. Rejected images stay selected, and no later round selects them again: to label them after all, export the
   tag of that round.
5. `export`: the selected images become a manifest for your labeling tool.
6. `label`: your labeling tool; here a stand-in that takes the name of an image's folder as its label.

The next run trains with the new labels, and selects from the images that have none yet. The first run has no labels, so
its model knows nothing, and the selection is by diversity alone.

Replace `predict` and `label` with your own tasks. The stand-in for a model needs numpy and Pillow, which
`pip install "airflow-provider-lightly[labelformat]"` brings.

Before the first run, create three connections (Admin > Connections, or environment variables):

* `lightly_default`, type *Lightly*: your API token.
* `lightly_bucket`, type *Amazon Web Services*: what Lightly shall use to reach the bucket.
* `aws_default`, type *Amazon Web Services*: Airflow's own identity, which reads the images, and writes the predictions,
  the manifests and the labels.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, Param, TaskGroup, task

from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.results import ExportLightlyTagOperator, UploadLightlyPredictionsOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

# True: each round waits for a person, under "Required Actions" in Airflow. It needs Airflow 3.1 or newer.
ASK_FOR_APPROVAL = False
LONGEST_WAIT_FOR_APPROVAL = timedelta(days=3)

# Whoever may start this DAG may hand over one of these to Lightly, and no other connection. List yours here.
BUCKET_CONNECTIONS = ["lightly_bucket"]
# Airflow's own identity, which is never handed over to Lightly.
AWS_CONN_ID = "aws_default"

TASK_NAME = "photo_class"
# What your labeling distinguishes; here the folders of the sandbox's photos.
CLASSES = (
    *("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble", "ihc", "moon"),
    *("motorcycle", "page", "retina", "rocket", "text"),
)
SELECTION = f"""{{
    "n_samples": {{{{ params.n_samples }}}},
    "strategies": [
        {{
            "input": {{"type": "SCORES", "task": "{TASK_NAME}", "score": "uncertainty_entropy"}},
            "strategy": {{"type": "WEIGHTS"}}
        }},
        {{
            "input": {{"type": "PREDICTIONS", "task": "{TASK_NAME}", "name": "CLASS_DISTRIBUTION"}},
            "strategy": {{"type": "BALANCE", "distribution": "UNIFORM"}}
        }},
        {{"input": {{"type": "EMBEDDINGS"}}, "strategy": {{"type": "DIVERSITY"}}}}
    ]
}}"""


# --- the stand-in for your model -------------------------------------------------------------------------------------


def describe(content: bytes) -> Any:
    """Describe an image by 245 numbers: its colors, and its shades in 8 by 8 fields."""
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        colors = np.asarray(image.convert("RGB").resize((32, 32)), dtype=np.float64) / 256
        shades = np.asarray(image.convert("L").resize((8, 8)), dtype=np.float64) / 256
    bins = (colors * [6, 6, 5]).astype(int).reshape(-1, 3) @ [30, 5, 1]
    histogram = np.bincount(bins, minlength=180) / len(bins)
    return np.concatenate([np.sqrt(histogram), shades.ravel() / 8, [1.0]])


def predict_probabilities(features: Any, labeled: Mapping[int, str]) -> Any:
    """
    Learn from the labeled images (softmax regression), and return each image's probability of each class.

    :param features: One row per image.
    :param labeled: The labels so far, by row.
    """
    import numpy as np

    weights = np.zeros((features.shape[1], len(CLASSES)))
    rows = sorted(labeled)
    known, truth = features[rows], np.zeros((len(rows), len(CLASSES)))
    truth[np.arange(len(rows)), [CLASSES.index(labeled[row]) for row in rows]] = 1
    for _ in range(300 if rows else 0):
        error = _softmax(known @ weights) - truth
        weights -= 10 * (known.T @ error / len(rows) + 1e-4 * weights)
    return _softmax(features @ weights)


def _softmax(values: Any) -> Any:
    import numpy as np

    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def read_labels(s3: Any, bucket: str, folder: str) -> dict[str, str]:
    """Return the labels of all rounds so far, by file name."""
    labels: dict[str, str] = {}
    for key in s3.list_keys(bucket, folder):
        for line in s3.read_key(key, bucket).splitlines():
            labeled = json.loads(line)
            labels[labeled["filename"]] = labeled["label"]
    return labels


@task
def predict(input_path: str, work_path: str) -> str:
    """Stand-in for your model: write a prediction for each image, and return their folder."""
    import numpy as np
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    s3 = S3Hook(AWS_CONN_ID)
    bucket, prefix = S3Hook.parse_s3_url(input_path)
    work_bucket, folder = S3Hook.parse_s3_url(work_path)
    names = [key.removeprefix(prefix) for key in s3.list_keys(bucket, prefix) if key.endswith((".jpg", ".png"))]
    labels = read_labels(s3, work_bucket, f"{folder}labels/")
    features = np.array([describe(s3.get_key(f"{prefix}{name}", bucket).get()["Body"].read()) for name in names])
    probabilities = predict_probabilities(
        features, {row: labels[name] for row, name in enumerate(names) if name in labels}
    )
    for name, values in zip(names, probabilities.round(6).tolist(), strict=True):
        best = max(range(len(CLASSES)), key=values.__getitem__)
        found = {"category_id": best, "probabilities": values, "score": values[best]}
        _write(s3, work_bucket, f"{folder}predictions/{name.rpartition('.')[0]}.json", _prediction(name, found))
    schema = {
        "task_type": "classification",
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
    }
    _write(s3, work_bucket, f"{folder}predictions/schema.json", json.dumps(schema))
    log.info("Predicted %d images, with the labels of %d", len(names), len(labels))
    return f"{work_path}predictions/"


def _prediction(file_name: str, found: dict[str, Any]) -> str:
    return json.dumps({"file_name": file_name, "predictions": [found]})


def _write(s3: Any, bucket: str, key: str, text: str) -> None:
    s3.load_string(text, key, bucket, replace=True)


# --- the stand-in for your labeling tool ----------------------------------------------------------------------------


@task
def label(exported: dict[str, Any], work_path: str) -> int:
    """Stand-in for your labeling tool: label each image of the manifest, and return their number."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    s3 = S3Hook(AWS_CONN_ID)
    manifest_bucket, manifest = S3Hook.parse_s3_url(exported["uri"])
    bucket, folder = S3Hook.parse_s3_url(work_path)
    names = [json.loads(line)["filename"] for line in s3.read_key(manifest, manifest_bucket).splitlines()]
    labels = [{"filename": name, "label": name.split("/")[-2]} for name in names]
    # One file for each round, named as its manifest: a retry writes the same one again.
    key = f"{folder}labels/{manifest.rpartition('/')[2]}"
    _write(s3, bucket, key, "".join(f"{json.dumps(entry)}\n" for entry in labels))
    log.info("Labelled %d images: %s", len(labels), ", ".join(sorted({entry["label"] for entry in labels})))
    return len(labels)


def location(folder: str, title: str) -> Param:
    """A parameter for a folder in S3."""
    return Param(f"s3://my-bucket/{folder}/", type="string", pattern=r"^s3://[^/]+/(.+/)?$", title=title)


# --- the round -------------------------------------------------------------------------------------------------------

with DAG(
    dag_id="lightly_active_learning",
    description="One round of active learning: predict, select what the model is least certain of, label",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # A round begins with the labels of the one before.
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        "dataset_name": Param("my-photos", type="string", title="Dataset"),
        "input_path": location("photos", "Location of the images (only read)"),
        "lightly_path": location("lightly", "Location to which Lightly writes"),
        "work_path": location("active-learning", "Location of the predictions, the manifests and the labels"),
        "aws_conn_id": Param(
            BUCKET_CONNECTIONS[0], enum=BUCKET_CONNECTIONS, title="AWS connection that is handed over to Lightly"
        ),
        "n_samples": Param(24, type="integer", minimum=1, title="Number of images to label in this round"),
        "poll_interval": Param(60, type="number", exclusiveMinimum=0, title="Seconds between two polls of the run"),
    },
):
    # A task that takes its dataset from a task other than the one before it reads it by template: the output of a task
    # would be another arrow in the graph.
    with TaskGroup("onboard", prefix_group_id=False, tooltip="Dataset, datasources, permissions"):
        dataset = CreateLightlyDatasetOperator(task_id="create_dataset", dataset_name="{{ params.dataset_name }}")
        configure = ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset.output,
            resource_path="{{ params.input_path }}",
            output_resource_path="{{ params.lightly_path }}",
            datasource_aws_conn_id="{{ params.aws_conn_id }}",
            generate_thumbnails=True,
        )
        verify = VerifyDatasourcePermissionsOperator(
            task_id="verify_permissions", dataset_id="{{ ti.xcom_pull('create_dataset') }}"
        )
        configure >> verify

    with TaskGroup("select", prefix_group_id=False, tooltip="Predictions, and the run that selects by them"):
        predictions = predict("{{ params.input_path }}", "{{ params.work_path }}")
        upload = UploadLightlyPredictionsOperator(
            task_id="upload_predictions",
            dataset_id="{{ ti.xcom_pull('create_dataset') }}",
            task_name=TASK_NAME,
            source=predictions,
            format="lightly",
            aws_conn_id=AWS_CONN_ID,
        )
        run = RunLightlyWorkerOperator(
            task_id="run_worker",
            dataset_id="{{ ti.xcom_pull('create_dataset') }}",
            selection_config=SELECTION,
            # What an earlier round did not select is a candidate again, with a better prediction.
            only_new=False,
            worker_config={"use_datapool": True},
            poll_interval="{{ params.poll_interval }}",
        )

    @task.short_circuit
    def is_something_selected(run: dict[str, Any]) -> bool:
        """Skip the rest of the round if every image is labeled."""
        return bool(run["n_selected"])

    selected = is_something_selected(run.output)
    export = ExportLightlyTagOperator(
        task_id="export",
        dataset_id="{{ ti.xcom_pull('create_dataset') }}",
        tag_name="{{ ti.xcom_pull('run_worker')['tag_name'] }}",
        format="manifest",
        destination="{{ params.work_path }}to_label/{{ ti.xcom_pull('run_worker')['run_id'] }}.jsonl",
        aws_conn_id=AWS_CONN_ID,
    )
    label(export.output, "{{ params.work_path }}")

    verify >> predictions
    upload >> run
    if ASK_FOR_APPROVAL:
        # On Airflow before 3.1 this import fails, and so the DAG does: it must not go on without the approval.
        from airflow.providers.standard.operators.hitl import ApprovalOperator

        approve = ApprovalOperator(
            task_id="approve",
            subject="Label {{ ti.xcom_pull('run_worker')['n_selected'] }} images of {{ params.dataset_name }}?",
            body=(
                "The model is least certain of these: the tag *{{ ti.xcom_pull('run_worker')['tag_name'] }}* of the "
                "[dataset]({{ ti.xcom_pull('run_worker', key='lightly_dataset_url') }}). The report of the run is "
                "[here]({{ ti.xcom_pull('run_worker', key='lightly_runs_url') }})."
            ),
            # Without an answer until then, the task fails, and nothing is labeled.
            response_timeout=LONGEST_WAIT_FOR_APPROVAL,
        )
        selected >> approve >> export
    else:
        selected >> export
