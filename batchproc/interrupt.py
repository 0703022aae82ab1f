"""Ctrl-C while the program is still being imported, or ends: an exit code and no traceback.

Until a command does something that must be undone or awaited (`heard`), nothing is lost by leaving at once. Only
builtin modules are imported here, and this before all others: what comes before is Python's own start.
"""

from __future__ import annotations

import atexit
import os

try:
    import _signal  # type: ignore[import-not-found]  # the module signal, without the enum that it imports
except ImportError:  # an implementation of Python that keeps it elsewhere
    import signal as _signal

_CODE = 130


def _leave(signum: int, frame: object) -> None:
    os._exit(_CODE)  # an exception in the middle of an import may be printed instead of raised


def quiet() -> None:
    """From now on SIGINT ends the process at once, unless somebody has ignored it or handles it in another way."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)


def ended() -> None:
    """There is nothing to interrupt any more: Python's own end puts handlers back to the system's, which kills."""
    quiet()
    if _signal.getsignal(_signal.SIGINT) is _leave:
        atexit.register(_signal.signal, _signal.SIGINT, _signal.SIG_IGN)


def heard() -> None:
    """From now on SIGINT is a KeyboardInterrupt again: there are files to close."""
    if _signal.getsignal(_signal.SIGINT) is _leave:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
