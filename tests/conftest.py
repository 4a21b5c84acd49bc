"""What every test can rely on: no internet, a private cache, few threads, plain terminals.

Tests marked ``network`` or ``benchmark`` are left out unless ``-m`` names the mark.
Tests marked ``fuzz`` try a hundred random inputs each, and with ``-m fuzz`` 20,000 (or ``FUZZ_EXAMPLES``);
``gpu`` and ``modeller`` tests skip with a reason where there is none. Two processes share the
tests (``-n 0``: one, for a debugger).
"""

import importlib.util
import ipaddress
import os
import re
import signal
import socket
from pathlib import Path

import pytest

# Before anything imports a numerical library: test inputs are tiny, and threads that wait for
# each other cost more than they give (the more so beside pytest-xdist).
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("OPENMM_CPU_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# transformers' hub client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

# Under nohup, or in the background of a script, signals are ignored, and processes started from here would
# inherit that; a handler is not inherited.
for _name in ("SIGINT", "SIGHUP"):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)

ROOT = Path(__file__).resolve().parents[1]
ON_REQUEST = ("network", "benchmark")


class SocketForbiddenError(RuntimeError):
    """A test without the ``network`` mark reached for the internet (no OSError: nothing retries it away)."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers; benchmarks run alone, since neighbours would spoil what they measure."""
    return 0 if "benchmark" in (config.getoption("-m") or "") else min(2, os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("-m") or ""
    unasked = [mark for mark in ON_REQUEST if not re.search(rf"\b{mark}\b", asked)]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in unasked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_configure(config: pytest.Config) -> None:
    """Random input: a few examples beside all other tests, many where they alone are asked for."""
    from hypothesis import settings

    settings.register_profile("short", deadline=None)
    settings.register_profile(
        "long", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20000"))
    )
    settings.load_profile("long" if re.search(r"\bfuzz\b", config.getoption("-m") or "") else "short")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")
    if item.get_closest_marker("modeller") and importlib.util.find_spec("modeller") is None:
        pytest.skip("Salilab's MODELLER is not installed here")


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host in ("", "localhost", "testserver"):
        return True
    try:
        return ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_internet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine can be talked to, unless the test is marked ``network``."""
    if request.node.get_closest_marker("network"):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        return

    def refuse(host: object) -> None:
        if not _is_local(host):
            raise SocketForbiddenError(f"tests may not reach {host!r}; mark the test 'network' if it must")

    def guarded(original):  # type: ignore[no-untyped-def]
        def call(self: socket.socket, address: object):  # type: ignore[no-untyped-def]
            if self.family in (socket.AF_INET, socket.AF_INET6):
                refuse(address[0])  # type: ignore[index]
            return original(self, address)

        return call

    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):  # type: ignore[no-untyped-def]
        refuse(host)
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="session", autouse=True)
def _session_cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """For module- and session-wide fixtures: nothing is ever written to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path_factory.mktemp("session-cache")))
        # Nothing asks for 3Dmol.js; tests of the browser bring their own.
        patch.setenv("MUTSCAN_3DMOL_URL", "off")
        yield


@pytest.fixture(autouse=True)
def _plain_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache for each test, no service addresses, and no colour from outside."""
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("MUTSCAN_3DMOL_URL", "off")
    for name in ("MUTSCAN_UNIPROT_URL", "MUTSCAN_AFDB_URL", "NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    # typer draws boxes for GitHub's logs unless told not to.
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; skips where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the reference data folder 'shared' is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def project() -> Path:
    """Root of the source checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of width 16 in the real on-disk format: encoder, net and config."""
    import torch
    from transformers import EsmConfig, EsmModel

    from mutscan.model.checkpoint import ModelConfig, save_checkpoint
    from mutscan.model.config import SiameseConfig
    from mutscan.model.siamese import SiameseNet

    torch.manual_seed(0)
    encoder = tmp_path_factory.mktemp("tiny-encoder")
    EsmModel(
        EsmConfig(
            vocab_size=33,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=1026,
            position_embedding_type="rotary",
            token_dropout=False,
            pad_token_id=1,
            mask_token_id=32,
        ),
        add_pooling_layer=False,
    ).save_pretrained(encoder)
    siamese = SiameseConfig(d_input=16, d_model=16, n_heads=2, n_layers=1, d_feed_forward=32, d_pool=8)
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(path, SiameseNet(siamese), ModelConfig(name="tiny", siamese=siamese), encoder=encoder)
    return path
