"""What a process of a DataLoader does with signals that are meant for the run."""

import os
import signal
import threading

MEANT_FOR_THE_RUN = {
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
}


def leave_signals_to_the_loop(worker: int) -> None:
    """Keeps this worker alive when schedulers and terminals send every process of a run a signal to stop: the
    step that is under way may still wait for its batch.

    It ends when its loop says so, also by SIGTERM, or is gone.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, MEANT_FOR_THE_RUN)
    threading.Thread(target=_end_with_the_loop, args=(os.getppid(),), daemon=True).start()


def _end_with_the_loop(loop: int) -> None:
    while True:
        heard = signal.sigwaitinfo(MEANT_FOR_THE_RUN)
        if heard.si_signo == signal.SIGTERM and heard.si_pid == loop:
            os._exit(0)
