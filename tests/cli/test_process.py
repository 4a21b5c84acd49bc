"""The command as a process: signals and closed streams."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mutscan.worker import interrupts_held
from tests.places import GLOBIN

WAITS = (
    "import time, mutscan.__main__ as m, mutscan.cli.app as a\n"
    "def app(*_, **__):\n"
    "    print('ready', flush=True)\n"
    "    time.sleep(60)\n"
    "a.app = app\n"
    "m.main()\n"
)
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and shells")


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; it is killed if a test fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_with_130_and_a_word(name: str) -> None:
    with started([sys.executable, "-c", WAITS]) as process:
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("stderr", ["2>&2", "2>&-"])
def test_a_signal_in_an_import_ends_there(tmp_path: Path, name: str, stderr: str) -> None:
    """Libraries' native parts abort when an exception comes out of what they import, or swallow it."""
    (tmp_path / "slow.py").write_text(
        "import time\nprint('ready', flush=True)\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass\n"
    )
    script = WAITS.replace("    print('ready', flush=True)\n    time.sleep(60)\n", "    import slow\n")
    script = f"import sys\nsys.path.append({str(tmp_path)!r})\n{script}"
    command = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(script)} {stderr}"
    with started(["sh", "-c", command]) as process:
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n" if stderr == "2>&2" else "")


@posix
def test_a_terminal_that_is_gone(tmp_path: Path) -> None:
    """The kernel sends SIGHUP then, and nothing can be written any more."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", WAITS])
    with open(terminal, "rb", buffering=0) as stream:
        assert stream.read(5) == b"ready"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130


@posix
def test_nohup_still_holds_off_the_hang_up() -> None:
    script = WAITS.replace("time.sleep(60)", "time.sleep(3)")
    command = f"trap '' HUP; exec {shlex.quote(sys.executable)} -c {shlex.quote(script)}"
    with started(["sh", "-c", command]) as process:
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str) -> None:
    command = shlex.join([sys.executable, "-m", "mutscan", "check", str(GLOBIN / "wild_type.cif"), "L38D"])
    done = subprocess.run(
        ["sh", "-c", f"{command} --offline {closed}"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert ("L38D" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert "Traceback" not in done.stderr


@posix
def test_processes_that_start_meanwhile_do_not_get_the_interrupt() -> None:
    """Ctrl-C goes to the whole group; a worker that still imports would print a traceback."""
    with interrupts_held():
        worker = subprocess.Popen(
            [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(1); print('done')"],
            stdout=subprocess.PIPE,
            text=True,
        )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "up\n"
    worker.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert worker.communicate(timeout=60)[0] == "done\n"
    assert worker.returncode == 0
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
