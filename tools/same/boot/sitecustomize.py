"""Imported by every Python that a checkout starts: it must not see the checkout that is installed beside its own.

A sweep's plugins are found in every folder of the path, so that being first there is not enough.
"""

import os
import sys

_own = os.environ["SAME_SOURCES"]
sys.path[:] = [folder for folder in sys.path if folder == _own or not os.path.isfile(f"{folder}/lossbench/__init__.py")]
