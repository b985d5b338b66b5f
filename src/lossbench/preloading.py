"""What the server of worker processes imports first, so that its other imports take less time."""

from lossbench.garbage import look_seldom

look_seldom()
