"""How many connections this process may open."""

from __future__ import annotations

_OURS = 64  # files, pipes, libraries
_ENOUGH = 8192


def room_for(wanted: int, *, may_raise: bool = True) -> int:
    """At most `wanted` connections, less where the limit of open files is lower; that limit is raised if it may be."""
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
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _OURS))
