"""What the pytest plugin gives to tests. Only the standard library."""
