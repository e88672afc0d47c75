"""The program: `python -m fitcard`, and the script that installing makes."""

import os
import signal

for _number in (signal.SIGINT, signal.SIGTERM):
    # Until the command line has its own way of ending, nothing is there that would have to be tidied up.
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, lambda number, _: os._exit(128 + number))

from fitcard.cli import main  # noqa: E402 - importing takes long enough to be interrupted

__all__ = ["main"]

if __name__ == "__main__":
    main()
