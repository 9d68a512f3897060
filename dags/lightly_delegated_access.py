"""
### Give Lightly a role of yours, and onboard a bucket with it

Creates the IAM role that Lightly assumes, with no more rights than these two places take, waits until IAM shows it,
then creates the dataset, connects it to your bucket, and verifies what Lightly may do there. Run it as often as you
like: what is up to date is left alone. Each dataset has a role of its own: `Lightly-<dataset>`, with dots for spaces.
Run it with *Take the role away* to delete the dataset's role and what is kept of it.

Before the first run, make two connections (Admin > Connections, or environment variables):

* `lightly_default`, type *Lightly*: your API token.
* `aws_default`, type *Amazon Web Services*: Airflow's own identity, which may manage roles and keep secrets; the
  guide's page on access lists its rights.

The role's external ID is random, and kept in a secret of AWS Secrets Manager, `lightly/<role>`. The constants
below say where, and by which identity: they are for whoever writes the DAG, and not in the form, as whoever may start
the DAG must not choose what is handed over to Lightly.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, TaskGroup, task

from lightly_provider.operators.access import CreateLightlyAccessRoleOperator, DeleteLightlyAccessOperator
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator

# Airflow's own identity, which manages the role and its secret.
AWS_CONN_ID = "aws_default"
# Of two datasets with one role, the second would take away what the first may read. No dataset's name has a dot.
ROLE_NAME = "Lightly-{{ params.dataset_name | replace(' ', '.') }}"
# Or an SSM parameter (ssm://<aws_conn_id>/<name>), or an Airflow connection, for which Airflow 3 needs
# airflow_api_conn_id besides.
ACCESS_CONN_ID = f"secretsmanager://{AWS_CONN_ID}/lightly/{ROLE_NAME}"

with DAG(
    dag_id="lightly_delegated_access",
    description="Create the IAM role that Lightly assumes, and onboard a bucket with it; or take the role away",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Of two runs at once, one would delete what the other creates.
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
    params={
        # With "Lightly-", a role's name has at most 64 characters.
        "dataset_name": Param(
            "my-photos", type="string", pattern="^[a-zA-Z0-9][a-zA-Z0-9 _-]+$", maxLength=56, title="Dataset"
        ),
        "dataset_type": Param("Images", enum=["Images", "Videos"], title="What is in the bucket"),
        "input_path": Param(
            "s3://my-bucket/photos/", type="string", minLength=1, title="Where the files are (only read)"
        ),
        "lightly_path": Param("s3://my-bucket/lightly/", type="string", minLength=1, title="Where Lightly may write"),
        "tear_down": Param(False, type="boolean", title="Take the role away"),
    },
):

    @task.branch
    def onboard_or_tear_down(**context: Any) -> str:
        """The first task of what is to be done."""
        return "delete_role" if context["params"]["tear_down"] else "create_role"

    role = CreateLightlyAccessRoleOperator(
        task_id="create_role",
        role_name=ROLE_NAME,
        access_conn_id=ACCESS_CONN_ID,
        aws_conn_id=AWS_CONN_ID,
        resource_path="{{ params.input_path }}",
        output_resource_path="{{ params.lightly_path }}",
    )
    with TaskGroup("onboard", prefix_group_id=False, tooltip="Dataset, datasources, permissions"):
        dataset = CreateLightlyDatasetOperator(
            task_id="create_dataset",
            dataset_name="{{ params.dataset_name }}",
            dataset_type="{{ params.dataset_type }}",
        )
        datasources = ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset.output,
            datasource_aws_conn_id=ACCESS_CONN_ID,
            resource_path="{{ params.input_path }}",
            output_resource_path="{{ params.lightly_path }}",
            generate_thumbnails=True,
        )
        datasources >> VerifyDatasourcePermissionsOperator(
            task_id="verify_permissions",
            # By template, because the output of a task would be another arrow in the graph.
            dataset_id="{{ ti.xcom_pull('create_dataset') }}",
            # Airflow's own identity looks at the role, too: the platform does not say which place it tried.
            datasource_aws_conn_id=ACCESS_CONN_ID,
            aws_conn_id=AWS_CONN_ID,
            # What IAM shows may still be on its way to S3 and STS.
            propagation_timeout=60,
        )

    delete = DeleteLightlyAccessOperator(
        task_id="delete_role",
        role_name=ROLE_NAME,
        access_conn_id=ACCESS_CONN_ID,
        aws_conn_id=AWS_CONN_ID,
    )

    onboard_or_tear_down() >> [role, delete]
    role >> dataset
