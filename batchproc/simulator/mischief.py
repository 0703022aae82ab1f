"""Answers that break on the wire: reset, cut short, never sent, or sent byte by byte."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from batchproc.simulator.decision import Decision

_DRIP_S = 0.2


async def send_badly(request: web.BaseRequest, decision: Decision) -> web.StreamResponse:
    """Send a decision whose `wire` is set, as badly as that says."""
    if decision.wire == "hang":
        await asyncio.get_running_loop().create_future()  # until the client goes away
    if decision.wire == "reset":
        return _reset(request)
    response = web.StreamResponse(status=decision.status, headers=decision.headers)
    response.content_length = len(decision.body)
    await response.prepare(request)
    if decision.wire == "cut":
        await response.write(decision.body[: max(1, len(decision.body) // 2)])
        if request.transport is not None:
            request.transport.close()
        return response
    for index in range(len(decision.body)):
        await asyncio.sleep(_DRIP_S)
        await response.write(decision.body[index : index + 1])
    return response


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """Drop the connection with a TCP reset where the platform allows it, else with a plain close."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # Lingering for no time at all makes the kernel send RST instead of FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
