"""Work spread over the cores by processes that are copies of this one, so that what is in memory need not be sent to them."""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import pickle
import signal
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from fitcard.catalog.errors import FitcardError

MANY_OBJECTS = 1_000_000
"""Objects that came and stayed since garbage was last looked for, from which on that pays."""

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """What `work` makes of each part, in their order. `work` may not rely on changing anything in memory.

    Raises what it raised, and FitcardError when a process died. A parent that is killed leaves processes that end with the
    part that they are at; locks that it held are theirs until then.
    """
    count = min(cores(), len(parts))
    if count < 2 or not hasattr(os, "fork") or threading.active_count() > 1:
        return [_collected(work, part) for part in parts]
    return _in_copies(work, parts, count)


def apart(work: Callable[[], R]) -> R:
    """What `work` gives, done in a copy of this process, so that nothing of what it keeps in memory stays. Raises what it raised, and
    FitcardError when the copy died."""
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return work()
    return _in_copies(lambda _: work(), [None], 1)[0]


def _in_copies(work: Callable[[T], R], parts: Sequence[T], count: int) -> list[R]:
    # The numbers of the parts lie ready in a pipe, and whoever is free takes the next one: nobody waits for a slower neighbour.
    take, give = os.pipe()
    numbers = [struct.pack("i", number) for number in range(len(parts))]
    if sum(map(len, numbers)) > 1 << 14:
        raise ValueError("too many parts for a pipe: make them larger")
    os.write(give, b"".join(numbers))
    os.close(give)
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # so that a collection in a copy does not touch, and so double, the memory that it shares
    readers: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            result, say = os.pipe()
            child = _fork()
            if child == 0:
                _child(work, parts, take, say)
            os.close(say)
            readers.append((child, result))
    finally:
        gc.unfreeze()
        os.close(take)
        answers = [_answer(child, result) for child, result in readers]
    found: dict[int, R] = {}
    for done, failure in answers:
        if failure is not None:
            raise failure
        found |= done
    return [found[number] for number in range(len(parts))]


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the caller looked for threads
        return os.fork()


@contextmanager
def begun(work: Callable[[], object], *, needed: bool) -> Generator[Callable[[], None]]:
    """Where it is needed, have a copy of this process do something that it leaves in the cache, while this one goes on; the function that
    is given waits for its end. Nobody hears whether it succeeded: whoever needs it looks into the cache, or does it. Where there is one
    core, it is left to them. The copy is killed when something is raised here."""
    if not needed or cores() < 2 or not hasattr(os, "fork") or threading.active_count() > 1:
        yield lambda: None
        return
    sys.stdout.flush()
    sys.stderr.flush()
    child = _fork()
    if child == 0:
        gc.disable()
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    waiting = [child]

    def wait() -> None:
        if waiting:
            os.waitpid(waiting.pop(), 0)

    try:
        yield wait
    except BaseException:
        if waiting:
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        wait()


def dealt(groups: Iterable[Sequence[T]], count: int, *, whole: int = 1) -> list[list[T]]:
    """Groups of things to do in at most `count` parts of about the same length, none of them empty. Each group is in one part, for what
    it has in common, but those that would keep one core busy when the others are done are cut where they are longer than `whole`."""
    groups = list(groups)
    most = max(whole, sum(map(len, groups)) // min(count, 4 * cores()))
    cut = [group[at : at + most] for group in groups for at in range(0, len(group), most)]
    parts: list[list[T]] = [[] for _ in range(min(count, len(cut)))]
    shortest = [(0, number) for number in range(len(parts))]
    for group in sorted(cut, key=len, reverse=True):
        length, number = shortest[0]
        parts[number] += group
        heapq.heapreplace(shortest, (length + len(group), number))
    return parts


def _collected(work: Callable[[T], R], part: T) -> R:
    """What `work` makes of a part; where nobody looks for garbage as it arises, that is done now if there may be much."""
    found = work(part)
    if not gc.isenabled() and gc.get_count()[0] > MANY_OBJECTS:
        gc.collect()
    return found


def _child(work: Callable[[Any], Any], parts: Sequence[Any], take: int, say: int) -> None:
    """Do parts until there are none, answer, and end without anything that only the parent should do."""
    parent, done = os.getppid(), dict[int, Any]()
    failure: BaseException | None = None
    gc.disable()  # looking for garbage takes a quarter of the time, so it is looked for between parts, when there may be much
    try:
        while os.getppid() == parent and (number := os.read(take, 4)):
            at = struct.unpack("i", number)[0]
            done[at] = work(parts[at])
            if gc.get_count()[0] > MANY_OBJECTS:
                gc.collect()
                gc.freeze()
    except BaseException as error:
        failure = error
        if not isinstance(error, FitcardError | OSError | KeyboardInterrupt):
            error.add_note("".join(traceback.format_exception(error)))
    code = 1
    with contextlib.suppress(Exception):
        answer = pickle.dumps((done, failure))
        with os.fdopen(say, "wb") as file:
            file.write(answer)
        code = 0
    os._exit(code)


def _answer(child: int, result: int) -> tuple[dict[int, Any], BaseException | None]:
    with os.fdopen(result, "rb") as file:
        content = file.read()
    _, status = os.waitpid(child, 0)
    if status:
        why = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "gave no answer"
        return {}, FitcardError(f"a process that did part of the work {why}: is there enough memory? Run it again")
    answer: tuple[dict[int, Any], BaseException | None] = pickle.loads(content)
    return answer
