"""What holds for all tests: a busy machine is no failure of a property, and a run hears the signals it is sent."""

from __future__ import annotations

import contextlib
import signal

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Whoever starts the tests with `nohup`, or in the background, has these ignored, and what they start inherits that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(number, handler)
