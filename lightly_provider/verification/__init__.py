"""
What a dataset requires of its datasources, and what is seen of it: pure decisions.

The platform tests four permissions and answers with one light for each. It does not say which datasource it
tested when a dataset has more than one (lightly 1.5.26, api/datasources_api.py: the operation takes the
dataset's id and nothing else). What follows for each datasource is worked out from the lights, their texts and
what this worker saw itself; where nothing can tell, the verdict says UNKNOWN.
"""
