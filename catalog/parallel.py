"""Work spread over the cores."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fitcard.catalog.errors import FitcardError

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """What `work` makes of each part, in their order. `work` may not rely on changing anything in memory.

    The parts are done by forked copies of this process, which need not be sent what is in memory. Raises what `work` raised, and
    FitcardError when a process died. Where there is one core, or threads, which do not survive a fork, or no room
    for locks, it is done here.
    """
    count = min(cores(), len(parts))
    if count < 2 or not hasattr(os, "fork") or threading.active_count() > 1:
        return [work(part) for part in parts]
    # Here, since a short answer spreads nothing, and these take a tenth of its time.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks in general; threads were looked for
        _task.append((work, parts))
        try:
            try:
                pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start)
            except OSError:  # no room for its locks, or no shared memory to hold them
                return [work(part) for part in parts]
            with pool:
                return _results(pool, len(parts))
        except BrokenProcessPool:
            message = "a process that did part of the work was killed: is there enough memory? Run it again"
            raise FitcardError(message) from None
        finally:
            _task.pop()


def _results(pool: Executor, count: int) -> list[Any]:
    """What a pool of copies makes of all parts. When this process is told to end, it ends them."""
    from multiprocessing import active_children

    # The copies leave Ctrl-C and SIGTERM to this process.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        results = [pool.submit(_do, number) for number in range(count)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return [result.result() for result in results]
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:  # nothing is cancelled: what is, the pool's own thread trips over
        for process in active_children():
            process.kill()
        raise


_task: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []
"""What forked processes are to do: they find it in their copy of the memory."""


def _start() -> None:
    gc.freeze()  # a collection in a copy would touch, and so double, the memory that it shares
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, <sys/prctl.h>: end with the parent


def _do(number: int) -> Any:
    work, parts = _task[-1]
    return work(parts[number])
