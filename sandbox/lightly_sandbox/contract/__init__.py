"""The words of the platform's API, each once: operations, enums, error codes, and the form of its JSON."""
