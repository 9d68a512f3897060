"""The local AWS: ministack, made as strict as AWS where Lightly needs it."""
