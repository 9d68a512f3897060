"""``python -m lightly_provider``."""

from lightly_provider.cli.commands import main

if __name__ == "__main__":
    main()
