"""The pages' templates, style and script. Nothing here knows the platform."""
