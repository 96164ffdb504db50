"""Signal handling in DataLoader workers."""

import os
import signal
import threading

RUN_SIGNALS = {getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)}


def ignore_run_signals(worker: int) -> None:
    """Makes a worker ignore stop signals, which schedulers and terminals send to all processes of a run.

    The main process may still need the worker's batch. The worker ends when the main process ends it (also by
    SIGTERM) or exits.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, RUN_SIGNALS)
    threading.Thread(target=_exit_on_sigterm_of, args=(os.getppid(),), daemon=True).start()


def _exit_on_sigterm_of(parent: int) -> None:
    while True:
        received = signal.sigwaitinfo(RUN_SIGNALS)
        if received.si_signo == signal.SIGTERM and received.si_pid == parent:
            os._exit(0)
