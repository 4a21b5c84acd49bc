"""`mutscan train model` as processes: two that train together, and one that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.train.loop.processes import Ranks, shares
from tests import tiny_encoders
from tests.made_up_pairs import write_tables
from tests.places import ROOT

pytestmark = pytest.mark.timeout(900)  # a busy machine is slow to start processes

SETTINGS = """
steps = 12
warmup = 2
learning_rate = 3e-3
batch_residues = 300
chunk_residues = 100
memory_from = 4
validate_every = 4
average = 0.9
channel_dropout = 0.1
geometry = 0.03
refit_steps = 0
precision = "fp32"
[net]
d_model = 16
n_heads = 2
n_layers = 1
d_feed_forward = 32
d_pool = 8
dropout = 0.1
"""
LEARNING = "encoder_rate = 1e-3\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny_encoders.quiet_transformers()
    folder = tmp_path_factory.mktemp("inputs")
    write_tables(folder, families=48)
    tiny_encoders.write_esm(folder / "encoder", max_positions=130)
    (folder / "frozen.toml").write_text(SETTINGS)
    (folder / "learning.toml").write_text(LEARNING + SETTINGS)
    return folder


def command(inputs: Path, out: Path, config: str, *more: str) -> list[str]:
    return [
        "train", "model", "--structures", str(inputs / "structures.parquet"),
        "--pairs", str(inputs / "pairs.parquet"), "--encoder", str(inputs / "encoder"),
        "--config", str(inputs / f"{config}.toml"), "--out", str(out), "--device", "cpu", "--threads", "1",
        "--offline", "--json", *more,
    ]  # fmt: skip


def start(arguments: list[str], processes: int = 1) -> subprocess.Popen[str]:
    launcher = [sys.executable]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher += [
            "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--master-addr=127.0.0.1",
            f"--master-port={port}",
        ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*launcher, "-m", "mutscan", *arguments], cwd=inputs_folder(arguments), env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def inputs_folder(arguments: list[str]) -> Path:
    return Path(arguments[arguments.index("--encoder") + 1]).parent


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=840)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.fixture(scope="module")
def alone(inputs: Path) -> Path:
    """Models that one process trained without being disturbed."""
    threads = torch.get_num_threads()
    for config in ("frozen", "learning"):
        result = CliRunner().invoke(app, command(inputs, inputs / "alone" / config, config))
        assert result.exit_code == 0, result.output
    torch.set_num_threads(threads)
    return inputs / "alone"


def weights(model: Path) -> dict[str, torch.Tensor]:
    found = load_file(model / "model.safetensors")
    return found | {
        f"encoder/{k}": v.float() for k, v in load_file(model / "encoder" / "model.safetensors").items()
    }


def same_bytes(first: Path, second: Path) -> None:
    for name in ("model.safetensors", "encoder/model.safetensors", "splits.csv", "metrics.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def same_but_for_rounding(found: Path, expected: Path) -> None:
    """Weights of 12 steps at a rate of 3e-3 agree to 5e-5, those stored as fp16 to its rounding."""
    one, two = weights(expected), weights(found)
    assert one.keys() == two.keys()
    for name, value in one.items():
        other = two[name]
        # Biases that softmax cancels have a gradient of rounding alone, which Adam blows up.
        if name == "pool.2.bias":
            continue
        if name.endswith("query_key_value.bias"):
            value, other = (torch.cat(t.chunk(3)[::2]) for t in (value, other))  # not the key's
        atol = 6e-4 if name.startswith("encoder/") else 5e-5
        torch.testing.assert_close(
            other, value, atol=atol, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
def test_two_processes_train_what_one_does(inputs: Path, alone: Path) -> None:
    out = inputs / "two"
    said = finish(start(command(inputs, out, "frozen"), processes=2))
    expected = json.loads((alone / "frozen" / "metrics.json").read_text())
    assert json.loads(said)["pairs"]["n"] == expected["pairs"]["n"], "said once, by the first process"
    same_but_for_rounding(out, alone / "frozen")
    log = (out.with_name("two.work") / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [4, 8, 12]


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on(inputs: Path, alone: Path) -> None:
    out = inputs / "killed-two"
    kill_behind(start(command(inputs, out, "learning"), processes=2), out, steps=4)
    finish(start(command(inputs, out, "learning"), processes=2))
    same_but_for_rounding(out, alone / "learning")


def kill_behind(process: subprocess.Popen[str], out: Path, steps: int) -> None:
    """SIGKILL as soon as the log tells of so many steps; torchrun's children go with it."""
    log = out.with_name(out.name + ".work") / "log.jsonl"
    deadline = time.monotonic() + 200
    try:
        while not (log.is_file() and f'"step": {steps},' in log.read_text()):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, f"no step {steps} within the time"
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            children = [int(child) for child in tasks.read_text().split()] if tasks.is_file() else []
            for pid in (process.pid, *children):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("config", ["frozen", "learning"])
def test_killed_and_run_again_the_bytes_are_the_same(config: str, inputs: Path, alone: Path) -> None:
    out = inputs / "killed" / config
    process = start(command(inputs, out, config))
    kill_behind(process, out, steps=4)
    assert not (out / "model.safetensors").exists(), "it was killed too late to prove anything"
    finish(start(command(inputs, out, config)))
    same_bytes(out, alone / config)


def test_pieces_are_shared_out_evenly() -> None:
    rng = np.random.default_rng(0)
    costs = rng.integers(100, 4000, 23).tolist()
    for size in (1, 2, 5, 40):
        divided = shares(Ranks(0, size), costs)
        assert sorted(piece for part in divided for piece in part) == list(range(23))
        loads = [sum(costs[k] for k in part) for part in divided]
        assert max(loads) - min(loads) <= max(costs)
        assert all(part == sorted(part) for part in divided)
