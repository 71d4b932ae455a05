"""Small products have one thread each, whichever libraries were loaded when."""

import json
import subprocess
import sys

CODE = """
import json
from mmil_cli.runtime import one_blas_thread
with one_blas_thread():
    pass
import scipy.optimize
from threadpoolctl import threadpool_info, threadpool_limits
with threadpool_limits(limits=2, user_api="blas"), one_blas_thread():
    print(json.dumps([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]))
"""


def test_libraries_are_found_that_nobody_had_used_before() -> None:
    called = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, text=True)
    assert set(json.loads(called.stdout)) == {1}
