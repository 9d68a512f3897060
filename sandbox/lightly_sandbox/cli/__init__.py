"""The command ``lightly-sandbox``."""
