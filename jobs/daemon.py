"""The process that Spark forks its Python workers from: Spark's own, with what a stage's workers need made ready before the first fork.

Otherwise importing torch costs every worker seconds and a hundred megabytes. What is called, `session.readied` says.
"""

import gc
import importlib
import os

from pyspark import daemon

READY = "SHELFMATES_WORKERS_READY"  # variable of the workers' environment that names a function, module:function

if __name__ == "__main__":
    if named := os.environ.get(READY):
        module, _, function = named.partition(":")
        getattr(importlib.import_module(module), function)()
        gc.freeze()  # what there is now stays, in pages that the workers share: no worker's collector need look at it
    daemon.manager()
