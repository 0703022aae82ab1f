"""What happens meanwhile, for `logging`: the logger `batchproc`, silent unless a program listens to it."""

from __future__ import annotations

import logging

from batchproc.api.wording import in_python
from batchproc.events import Event, Note, OutageBegan, OutageEnded, Stopping

_log = logging.getLogger("batchproc")
_log.addHandler(logging.NullHandler())  # else what is a warning goes to stderr where nothing is configured


def log(event: Event) -> None:
    """An observer: outages and stops as warnings, what was learnt as information; nothing for single requests."""
    kind = type(event)
    if kind is Note and isinstance(event, Note):
        _log.info("%s", in_python(event.text))
    elif kind is OutageBegan and isinstance(event, OutageBegan):
        _log.warning("the server of %s is out: %s", event.model, event.why)
    elif kind is OutageEnded and isinstance(event, OutageEnded):
        _log.warning("the server of %s is back after %.0f s", event.model, event.lasted_s)
    elif kind is Stopping and isinstance(event, Stopping):
        _log.warning("stopping: %s; %d requests are in flight", in_python(event.why), event.in_flight)
