"""How many connections this process may open."""

from __future__ import annotations

from batchproc.errors import UsageError

_OURS = 64  # files, pipes, libraries
_LEAST = 32  # with one connection
_ENOUGH = 8192


def room_for(wanted: int, *, may_raise: bool = True) -> int:
    """At most `wanted` connections, less where the limit of open files is lower; that limit is raised if it may be.

    Raises UsageError where there is not room for a single one.
    """
    try:
        import resource
    except ImportError:
        return wanted  # Windows has no such limit worth speaking of
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = min(wanted + _OURS, _ENOUGH)
    if may_raise and soft != resource.RLIM_INFINITY and soft < need:
        more = need if hard == resource.RLIM_INFINITY else min(need, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
        except (OSError, ValueError):
            pass  # not allowed here: make do with what there is
    if soft != resource.RLIM_INFINITY and soft < _LEAST:
        raise UsageError(
            f"this process may have only {soft} open files, and needs {_LEAST} at least",
            "raise the limit: `ulimit -n 1024`",
        )
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _OURS))
