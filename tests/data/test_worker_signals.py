"""Processes that decode outlive a signal that is meant for the run, and end with their loop."""

import os
import signal

import torch
from torch.utils.data import DataLoader, Dataset

from slowfast_mlp.data.worker_signals import ignore_run_signals


class Own(Dataset):
    """The number of the process that reads an item."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return os.getpid()


def test_a_worker_handles_no_signal_but_that_of_its_loop():
    loader = DataLoader(Own(), num_workers=1, prefetch_factor=1, worker_init_fn=ignore_run_signals)
    batches = iter(loader)
    pid = int(next(batches))
    sender = os.fork()  # somebody else than the loop
    if sender == 0:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(pid, number)
        os._exit(0)
    os.waitpid(sender, 0)
    assert torch.cat(list(batches)).tolist() == [pid, pid]
    del batches
    loader = DataLoader(Own(), num_workers=1, persistent_workers=True, worker_init_fn=ignore_run_signals)
    pid = int(next(iter(loader)))
    os.kill(pid, signal.SIGTERM)
    (worker,) = loader._iterator._workers
    worker.join(10)
    assert worker.exitcode == 0
