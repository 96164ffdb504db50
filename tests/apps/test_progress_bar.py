"""How far a long job is, on a terminal and in a log file."""

import io

from slowfast_mlp.apps.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_says_what_is_done_what_failed_and_what_is_left():
    progress = ProgressBar("looked at", 200, stream=io.StringIO())
    progress.num_done, progress.num_failed = 50, 2
    assert progress.line(25.0) == "looked at 50/200, 2 failed, 2.0/s, 00:01:15 left"


def test_a_terminal_gets_a_bar_on_one_line():
    stream = Terminal()
    progress = ProgressBar("re-encoded", 2, stream=stream)
    progress.add(failed=False)
    progress.add(failed=True)
    assert stream.getvalue().startswith("\r\x1b[K[")
    assert f"[{'#' * 30}] re-encoded 2/2, 1 failed, " in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_a_log_file_gets_a_line_at_the_end_of_a_short_job():
    stream = io.StringIO()
    progress = ProgressBar("looked at", 3, stream=stream)
    for _ in range(3):
        progress.add(failed=False)
    assert stream.getvalue().startswith("looked at 3/3, 0 failed, ")
    assert stream.getvalue().count("\n") == 1
