"""``python -m lightly_provider``."""

from lightly_provider.cli import main

if __name__ == "__main__":
    main()
