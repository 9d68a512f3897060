"""The built wheels and sdists, and what makes them: `make package`."""
