"""The local AWS: ministack, made as strict as AWS for everything that Lightly uses."""
