"""A program: run_net on a disk that stops, for ever, in the middle of a checkpoint.

`slow_disk.py SAVE SHARE ...`: in the SAVE-th file that it writes, after that share of its bytes.
"""

import io
import runpy
import sys
import time

import torch

from tests.faults.running import RUN_NET

save = torch.save
num_saved = 0


def save_some(contents, file):
    global num_saved
    num_saved += 1
    if num_saved < int(sys.argv[1]):
        save(contents, file)
        return
    whole = io.BytesIO()
    save(contents, whole)
    file.write(whole.getvalue()[: int(float(sys.argv[2]) * len(whole.getvalue()))])
    file.flush()
    sys.stdout.write("the disk hangs\n")
    sys.stdout.flush()
    time.sleep(1000)


if __name__ == "__main__":
    torch.save = save_some
    sys.argv = [*RUN_NET, *sys.argv[3:]]
    runpy.run_path(RUN_NET[0], run_name="__main__")
