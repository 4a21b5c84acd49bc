"""The table of metrics on the terminal."""

from __future__ import annotations

from mutscan.cli.console import print_json_object, print_table


def print_metrics(metrics: dict[str, object], json: bool) -> None:
    if json:
        print_json_object(metrics)
        return
    pairs = metrics["pairs"]
    assert isinstance(pairs, dict)
    rows = []
    for target in ("tm", "lddt"):
        for name, value in pairs[target].items():
            if name.endswith("_ci") or name == "constant":
                continue
            interval = pairs[target][f"{name}_ci"]
            spread = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
            rows.append((f"{target} {name}", "" if value is None else f"{value:.4f}", spread))
    print_table((f"metric (n = {pairs['n']})", "value", "95 % interval"), rows)
