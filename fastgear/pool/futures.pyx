# SPDX-License-Identifier: MIT
"""Real futures of concurrent.futures, whose waiting threads help, and which cost little.

Most of what a future costs is its condition, a lock and a queue, which hardly any ever needs: whoever waits for the result
waits for the engine. So it is made when something asks for it, be it concurrent.futures itself, and a future without one
changes its state in a single step under the GIL, or where there is none in the future's critical section. What has asked for
the condition sees every change under it.
"""

cimport cython

import concurrent.futures
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from threading import Condition

__all__ = ["HelpingFuture", "late"]

cdef object Future = concurrent.futures.Future


cdef class FutureState:
    """What a future has, under the names that concurrent.futures knows; and those of its methods that are called for each."""

    def __cinit__(self, *_args, **_kwargs):
        self._state = PENDING

    @property
    def _condition(self):
        if self.condition is None:
            made = Condition()
            with cython.critical_section(self):
                if self.condition is None:  # another thread may have been here meanwhile
                    self.condition = made
        return self.condition

    @property
    def _waiters(self):
        if self.waiters is None:
            self.waiters = []
        return self.waiters

    @property
    def _done_callbacks(self):
        if self.callbacks is None:
            self.callbacks = []
        return self.callbacks

    cdef bint run(self) except -1:
        """Whether it has not been cancelled; from now on it cannot be."""
        with cython.critical_section(self):
            if self.condition is None and self._state is PENDING:
                self._state = RUNNING
                return True
        return Future.set_running_or_notify_cancel(self)

    cdef bint settle(self, value) noexcept:
        """Set the result, if that is one step; False when it is not, or the future is done."""
        with cython.critical_section(self):
            if self.condition is not None or self._state is not RUNNING:
                return False
            self._result = value
            self._state = FINISHED
        return True

    def set_running_or_notify_cancel(self):
        return self.run()

    def done(self):
        return self._state is FINISHED or self._state is CANCELLED or self._state is CANCELLED_AND_NOTIFIED

    def result(self, timeout=None):
        if self._state is FINISHED and self._exception is None:
            return self._result
        return Future.result(self, self.help(timeout))

    def exception(self, timeout=None):
        return Future.exception(self, self.help(timeout))

    def cancel(self):
        cancelled = Future.cancel(self)
        if cancelled:
            self.engine.wake()  # who waits for it
        return cancelled

    cdef help(self, timeout):
        """The time that is left to wait after helping: none."""
        if self.done() or not self.engine.running or self.engine.wait(self.done, timeout):
            return timeout
        if self.engine.failure is not None:  # nobody else will say so
            self.set_outcome(None, self.engine.failure)
        return 0 if self.engine.running else timeout  # who has ended it will set it, if it is not done

    def set_outcome(self, result, exception):
        """Set one of them; callbacks are left to the engine. What is done already stays as it is."""
        callbacks = None
        with self._condition:
            if self._state is not RUNNING and self._state is not PENDING:
                return
            callbacks, self.callbacks = self.callbacks, None
            if exception is None:
                Future.set_result(self, result)
            else:
                Future.set_exception(self, exception)
            self.callbacks = callbacks
        if callbacks:
            self.engine.callbacks.run(self)


class HelpingFuture(FutureState, Future):
    """A future of concurrent.futures; who waits for its result does the receiving meanwhile."""

    def __init__(self, engine):
        (<FutureState>self).engine = engine


def late(str text):
    """What to raise for a time that is over: everybody's TimeoutError, multiprocessing's and concurrent.futures' too."""
    import multiprocessing

    bases = dict.fromkeys((multiprocessing.TimeoutError, concurrent.futures.TimeoutError, TimeoutError))
    return type("TimeoutError", tuple(bases), {"__module__": "fastgear"})(text)
