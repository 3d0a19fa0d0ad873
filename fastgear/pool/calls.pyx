# SPDX-License-Identifier: MIT
"""Single calls with a future each: what `Executor.submit` and `Pool.apply_async` make. Compiled, since there may be many.

Calls of one function that follow each other travel as a group: the function once, and the arguments of each.
"""

cimport cython

import io
import pickle
from collections import deque
from concurrent.futures import InvalidStateError

from fastgear.pool.arguments cimport ArgumentsWriter, are_plain
from fastgear.pool.futures cimport FutureState

from fastgear.pool.chunks import MOST_BYTES, Sizer
from fastgear.pool.describe import describe_call, name_of
from fastgear.pool.frame import pack_calls
from fastgear.pool.functions import is_stateless
from fastgear.pool.futures import HelpingFuture
from fastgear.pool.outcome import rebuild
from fastgear.pool.pieces import Piece
from fastgear.pool.transfer import Packed, sent_of
from fastgear.pool.values import Failure

__all__ = ["Calls", "Later", "submit"]

cdef Py_ssize_t MOST_SHOWN = 10_000     # bytes of arguments that are unpickled to be shown
cdef Py_ssize_t NO_MOST = 1 << 30
cdef Py_ssize_t ROOM = MOST_BYTES


cdef class Call:
    """A call, and the future of its outcome. The function itself is there to be named."""

    cdef readonly object function
    cdef readonly object packed         # the function; bytes or Packed
    cdef readonly object arguments      # a tuple of plain ones; or bytes or Packed, a pickle of them with keywords
    cdef readonly FutureState future

    @property
    def name(self):
        return name_of(self.function)


def submit(FutureState future not None, function, tuple args not None, dict kwargs not None, *, bint collect=True):
    """Call it in a worker of the future's engine, and return the future. What cannot be pickled is its exception.

    Without `collect` the outcome comes only while somebody waits for it.
    """
    engine = future.engine
    cdef Call call = Call.__new__(Call)
    cdef Calls calls = engine.calls
    call.function = function
    call.future = future
    engine.check_open()
    try:
        call.packed = engine.packer.pack(function)
        call.arguments = args if not kwargs and are_plain(args) else engine.packer.pack_arguments((args, kwargs))
    except Exception as error:
        future.run()
        future.set_exception(error)
        return future
    if collect and not engine.collects:
        engine.collect()
    with engine.lock:
        engine.check_open()
        calls.waiting.append(call)
        if not calls.offered:
            engine.offer(calls)
    if engine.failure is not None:
        engine.settle()
    return future


cdef class Later:
    """In the place of a value that takes long to make: its future's, by who gives it that. `make` may return a Failure."""

    cdef object make

    def __init__(self, make not None):
        self.make = make


cdef class Calls:
    """The source of them: first come, first sent. A future that was cancelled before is left out. `most` travel together."""

    cdef readonly object sizer
    cdef readonly object name           # each has its own
    cdef readonly object done           # (future, value), of those that are not settled in one step; and of whole maps
    cdef readonly Py_ssize_t giving     # threads that give such a future its outcome just now, or run its callback
    cdef public bint offered            # the engine asks for pieces by itself
    cdef object transfer
    cdef object waiting
    cdef object again
    cdef Py_ssize_t most
    cdef ArgumentsWriter writer

    def __init__(self, workers, transfer, most=0):
        self.sizer = Sizer(workers)
        self.done = deque()
        self.transfer = transfer
        self.waiting = deque()
        self.again = deque()
        self.most = most or NO_MOST
        self.writer = ArgumentsWriter()

    def __len__(self):
        return len(self.waiting)

    # -- out

    def next_piece(self, list hand not None):
        cdef Py_ssize_t size
        cdef Py_ssize_t room = ROOM
        cdef list calls = []
        cdef Call call
        if self.again:
            hand.append(self.again.popleft())
            return True
        size = min(self.most, self.sizer.next(len(self.waiting)))
        hand.append(Piece(self, calls))
        while self.waiting and len(calls) < size and room > 0:
            call = self.waiting.popleft()
            if type(call.arguments) is Packed:
                room -= call.arguments.nbytes
            calls.append(call)
            if not call.future.run():
                calls.pop()
        if not calls:
            hand.pop()
        return bool(calls)

    def push_back(self, piece):
        self.again.append(piece)

    def pack(self, piece):
        cdef list groups = []
        cdef list calls = piece.tasks
        cdef Py_ssize_t end
        cdef Py_ssize_t start = 0
        while start < len(calls):
            end = start + 1
            while end < len(calls) and belong_together(<Call>calls[start], <Call>calls[end]):
                end += 1
            groups.append(self.group(calls, start, end))
            start = end
        return pack_calls(piece.number, groups)

    cdef tuple group(self, list calls, Py_ssize_t start, Py_ssize_t end):
        cdef Call call = calls[start]
        cdef object function = sent_of(call.packed)
        cdef list others = []
        cdef Py_ssize_t index
        for index in range(start, end):
            call = calls[index]
            if type(call.arguments) is tuple:
                self.writer.add(call.arguments)
            else:
                self.writer.add_other()
                others.append(sent_of(call.arguments))
        return function, end - start, self.writer.take(), others

    def cancel_waiting(self):
        """Take the futures of those that were not sent, for the caller to cancel."""
        futures = [(<Call>call).future for call in self.waiting]
        self.waiting.clear()
        return futures

    # -- in

    def advance(self, piece, Py_ssize_t start):
        cdef list calls = piece.tasks
        cdef list values = piece.values
        cdef FutureState future
        cdef Py_ssize_t index
        for index in range(start, len(values)):
            future = (<Call>calls[index]).future
            value = values[index]
            if type(value) is Failure or type(future) is not HelpingFuture or not future.settle(value):
                self.done.append((future, value))

    def settle(self):
        """Give the other futures their outcomes: not under the engine's lock, since that may call what users wrote."""
        while self.done:
            with cython.critical_section(self):
                self.giving += 1
            try:
                self.settle_next()
            finally:
                with cython.critical_section(self):
                    self.giving -= 1

    cdef settle_next(self):
        try:
            future, value = self.done.popleft()
        except IndexError:
            return
        try:
            give(future, value)
        except InvalidStateError:
            pass  # somebody else has set it
        except BaseException:  # a KeyboardInterrupt; or a callback's
            if not future.done():
                self.done.appendleft((future, value))
            raise

    # -- to be seen

    def describe(self, Call task, *, bint begun=False):
        try:
            if type(task.arguments) is tuple:
                args, kwargs = task.arguments, {}
            elif begun:
                args, kwargs = self.transfer.unpack(sent_of(task.arguments), private=True)
            elif isinstance(task.arguments, bytes):
                args, kwargs = PlainUnpickler(io.BytesIO(task.arguments)).load()
            else:
                return f"{task.name}(...)"
        except (Exception, SystemExit):
            return f"{task.name}(...)"
        return describe_call(task.function, args, kwargs)

    def describe_shortly(self, Call task):
        """Unpickling large arguments for it would take long."""
        if type(task.arguments) is Packed or (type(task.arguments) is bytes and len(task.arguments) > MOST_SHOWN):
            return f"{task.name}(...)"
        return self.describe(task)


cdef inline bint belong_together(Call one, Call other):
    """What is large and has a state is packed once for many calls, each of which is to have a copy of its own."""
    return one.packed is other.packed and (type(one.packed) is bytes or is_stateless(one.function))


cdef give(future, value):
    error = None
    if type(value) is Later:
        value = (<Later>value).make()
    if type(value) is Failure:
        error = rebuild(value.pickled)
        value = None
    if type(future) is HelpingFuture:
        future.set_outcome(value, error)
    elif error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


class PlainUnpickler(pickle.Unpickler):
    """Takes numbers, text and the like only: the rest may be what a worker has died of."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"{module}.{name} is not plain")
