"""
What a dataset requires of its datasources, and whether they grant it: pure decisions.

The platform tests four permissions and returns one light for each. If a dataset has more than one datasource, it does
not report which one it tested (lightly 1.5.26, api/datasources_api.py: the operation takes the dataset's id and
nothing else). This package infers each datasource's permissions from the lights, their texts and this worker's own
checks. What cannot be inferred is UNKNOWN.
"""
