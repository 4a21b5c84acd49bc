"""A worker process that answers messages; unlike a call into C++ code, it can be stopped."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final

from mutscan.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_LIMIT: Final = 120.0
"""Seconds the process may take to start; a cold disk and a busy machine are slow."""


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while processes start; they inherit that, and the parent alone answers.

    A process that gets the signal while it imports would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class PipedProcess:
    """A process that answers messages, started when first needed.

    It is a plain interpreter with two pipes, not multiprocessing, which would run the caller's main
    module again.

    Parameters
    ----------
    server : str
        The function it runs, as ``module:function``; that function calls `serve_pipe`.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process unless it is running.

        Raises
        ------
        MissingDependencyError
            It does not start, or cannot import what it needs.
        """
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        if self._owner == os.getpid():
            self.stop()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        module, function = self._server.split(":")
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {module} import {function}; {function}()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._process, self._owner = process, os.getpid()
        try:
            ready = self.receive(START_LIMIT)
        except (TimeoutError, EOFError, OSError) as error:
            self.stop()
            raise MissingDependencyError(
                f"the worker process {self._server} ({sys.executable}) did not start; run 'mutscan doctor'"
            ) from error
        if ready != "ready":
            self.stop()
            raise MissingDependencyError(ready)
        return process

    def send(self, message: object) -> None:
        """Send a message; OSError when the process has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        _write(self._process.stdin, message)

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for a message.

        Raises
        ------
        TimeoutError
            No message after `timeout` seconds; the process is killed.
        EOFError
            The process ended.
        """
        assert self._process is not None
        process, stream = self._process, self._process.stdout
        assert stream is not None
        if timeout is None:
            return _read(stream)
        box: list[Any] = []

        def read() -> None:
            with contextlib.suppress(EOFError, OSError, ValueError):
                box.append(_read(stream))

        # A thread reads, as pipes cannot be waited for on every system.
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            process.kill()
            reader.join()
            raise TimeoutError
        if not box:
            process.wait()
            raise EOFError
        return box[0]

    def kill(self) -> None:
        """Kill the process; a thread that waits for its answer gets EOFError."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()

    def exit_status(self) -> int | None:
        """Exit status of a process that just ended, negative for a signal; None while it runs."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the process, if this process has one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


# The worker's side ---------------------------------------------------------------------------------


def _write(stream: IO[bytes], message: object) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    (size,) = struct.unpack("<Q", _exactly(stream, 8))
    return pickle.loads(_exactly(stream, size))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve_pipe(handle: Callable[[Any, Callable[[object], None]], None], *, needs: str) -> None:
    """Answer messages from stdin on stdout until stdin closes: the main function of a `PipedProcess`.

    Parameters
    ----------
    handle : callable
        Gets a message and a function that sends an answer. A message may have any number of answers.
    needs : str
        Module to import first, so that a missing one is reported at the start.
    """
    # What C++ code prints must not mix with the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import_module(needs)
    except ImportError as error:
        _write(out, f"{needs} cannot be imported: {error}")
        return
    _write(out, "ready")
    while True:
        try:
            message = _read(sys.stdin.buffer)
        except EOFError:
            return
        handle(message, lambda answer: _write(out, answer))
