"""The REST API of the Lightly platform, served from SQLite."""
