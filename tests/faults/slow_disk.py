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


class HangingDisk:
    """torch.save, until the file of that number."""

    def __init__(self, number, share):
        self.number = number
        self.share = share
        self.num_saved = 0

    def save(self, contents, file):
        self.num_saved += 1
        if self.num_saved < self.number:
            save(contents, file)
            return
        whole = io.BytesIO()
        save(contents, whole)
        file.write(whole.getvalue()[: int(self.share * len(whole.getvalue()))])
        file.flush()
        sys.stdout.write("the disk hangs\n")
        sys.stdout.flush()
        time.sleep(1000)


if __name__ == "__main__":
    torch.save = HangingDisk(int(sys.argv[1]), float(sys.argv[2])).save
    sys.argv = [*RUN_NET, *sys.argv[3:]]
    runpy.run_path(RUN_NET[0], run_name="__main__")
