"""``python -m lightly_provider``."""

import os
import sys

if __name__ == "__main__":
    # Airflow reads this when it is imported, which a command does only if it needs Airflow. Its lines at INFO are not a
    # command's output; with `airflow lightly`, `cli/command.py` leaves them out.
    if not {"-v", "--verbose"} & set(sys.argv):
        os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

    from lightly_provider.cli.commands import main

    main()
