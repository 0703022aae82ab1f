"""From the options of a run to its beginning: which key, which headers, and off it goes."""

from __future__ import annotations

import os
import sys
from typing import Any

from batchproc.building.connect import extra_headers, key_of, secrets_of
from batchproc.cli.begin import begin
from batchproc.cli.bug import keep_out
from batchproc.providers.presets import preset_of
from batchproc.settings import RunSettings


def go(settings: RunSettings, options: dict[str, Any], **make: Any) -> int:
    """Begin a run, or what `make` makes of it, with the key and the headers that these options name.

    `make` may also have the `command` that was typed, where it was typed elsewhere.
    """
    key, headers = access_of(settings, options)
    return begin(
        settings,
        key=key,
        headers=headers,
        secrets=secrets_of(key, options["header"], headers),
        show=options["progress"],
        quiet=options["quiet"],
        verbose=options["verbose"],
        no_color=options["no_color"],
        as_json=options["as_json"],
        **{"command": list(sys.argv)} | make,
    )


def access_of(settings: RunSettings, options: dict[str, Any]) -> tuple[str | None, dict[str, str]]:
    """The key and the headers that these options and the environment name. Raises UsageError."""
    preset = preset_of(settings.provider, settings.base_url)
    headers = extra_headers(options["header"], os.environ, preset)
    key = None
    if settings.provider != "simulated":
        key = key_of(options["api_key_file"], preset, settings.base_url, headers, os.environ)
    keep_out(key, headers.values(), settings.quota)
    return key, headers
