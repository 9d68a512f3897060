"""What leaves the platform and what comes back to it: formats and destinations of exports, sources of uploads."""
