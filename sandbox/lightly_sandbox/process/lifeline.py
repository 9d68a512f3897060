"""Ends a child process when its supervisor has ended, for whatever reason.

The supervisor keeps one end of a pipe and never writes to it; each child reads the other end. When the
supervisor ends, even by SIGKILL, the kernel closes its end and the read returns. Run as
``python -m lightly_sandbox.process.lifeline FD MODULE …`` it watches the pipe and then runs MODULE like
``python -m MODULE …``.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 10.0
"""How long the child may take to end by itself."""


def hold(descriptor: int) -> None:
    """Watch the pipe ``descriptor`` in a thread; when it closes, ask this process to end, then kill it."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def main() -> None:
    """Watch the pipe in the first argument, and run the module in the second with the other arguments."""
    descriptor, module, *arguments = sys.argv[1:]
    hold(int(descriptor))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
