"""What the pytest plugin provides to tests. Standard library only."""
