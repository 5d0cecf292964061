"""What holds for every test, however the tests were started."""

import signal

from hypothesis import settings

# A shell that starts something in the background lets it, and all that it starts, ignore
# interrupts; tests that interrupt drkeeper would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes by the wall clock says how busy the machine is, not how good drkeeper is.
settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
