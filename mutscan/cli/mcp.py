"""``mutscan mcp``: a server for assistants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mutscan.cli.options import RUNNING, Messages, OfflineOption, command, path
from mutscan.cli.version import VersionOption


@command()
def mcp(
    *,
    folder: Annotated[
        Path, path("DIR", "Folder of inputs and runs; nothing outside of it is read or written.", RUNNING)
    ],
    offline: OfflineOption = False,
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Serve check, score, explain and list_runs to an assistant, by the Model Context Protocol.

    Answers on stdin and stdout until stdin closes. Needs the extra 'mcp'.
    """
    messages.terminal()
    from mutscan.cli.assistant import make_server

    make_server(folder, offline=offline).run()
