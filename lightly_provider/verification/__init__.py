"""
What a dataset requires of its datasources, and what is seen of it: pure decisions.

The platform tests four permissions and answers with one light for each. It does not say which datasource it
tested when a dataset has more than one (lightly 1.5.26, api/datasources_api.py: the operation takes the
dataset's id and nothing else). What follows for each datasource is worked out from the lights, their texts and
what this worker saw itself; where nothing can tell, the verdict says UNKNOWN.
"""

from lightly_provider.aws.findings import Finding, Status
from lightly_provider.aws.policies import Permission, Purpose
from lightly_provider.verification.changes import changes_between
from lightly_provider.verification.judging import judge
from lightly_provider.verification.requirements import DatasetUse, check_require, required_permissions
from lightly_provider.verification.verdict import Check, DatasourceFacts, Lights, Source, Verdict

__all__ = [
    "Check",
    "DatasetUse",
    "DatasourceFacts",
    "Finding",
    "Lights",
    "Permission",
    "Purpose",
    "Source",
    "Status",
    "Verdict",
    "changes_between",
    "check_require",
    "judge",
    "required_permissions",
]
