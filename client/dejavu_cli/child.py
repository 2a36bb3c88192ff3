"""Runs a module as a child process that ends when its parent does, even if that is killed.

    python -m dejavu_cli.child PARENT MODULE [ARGUMENT]...

PARENT is the process id of the parent. The module gets SIGTERM, so that it can drain.
"""

from __future__ import annotations

import runpy
import signal
import sys

from dejavu_common.processes import die_with_parent

if __name__ == "__main__":
    _, parent, module, *arguments = sys.argv
    if sys.platform == "linux":  # elsewhere a child of a parent that is killed goes on
        die_with_parent(int(parent), signal.SIGTERM)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
