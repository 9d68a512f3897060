"""What the sandbox's processes share: their folder, their sockets, their shutdown."""
