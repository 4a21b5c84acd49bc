"""``mutscan doctor``: check the installation."""

from __future__ import annotations

from dataclasses import asdict

from mutscan.cli.console import print_json, print_table
from mutscan.cli.options import JsonOption, Messages, OfflineOption, command
from mutscan.errors import MissingDependencyError


@command()
def doctor(*, offline: OfflineOption = False, json: JsonOption = False, messages: Messages) -> None:
    """Check the installation: GPU, OpenMM, MODELLER and its key, models, cache, disk, network.

    Exit code 6 if something is missing that 'mutscan score' needs.
    """
    terminal = messages.terminal()
    from mutscan import doctor as room

    findings = room.examine_system()
    broken = any(finding.topic == "torch" and finding.state == "missing" for finding in findings)
    if not broken:
        # mutscan.model imports torch.
        from mutscan.model import inverse_folding as folding
        from mutscan.model.checkpoint import list_models, verify_model

        findings += room.examine_models({info.name: verify_model(info.path) for info in list_models()})
        problem = folding.weights_problem()
        findings.append(room.examine_inverse_folding(folding.PACKAGE, problem, install=folding.INSTALL))
    from mutscan.builders.modeller import modeller_status
    from mutscan.fetch import Fetcher
    from mutscan.files import cache_dir

    findings.append(room.examine_modeller(modeller_status()))
    findings += room.examine_cache(cache_dir())
    fetcher = Fetcher(offline=offline)
    services = {"UniProt": fetcher.uniprot_url, "AlphaFold DB": fetcher.afdb_url}
    if offline:
        findings += [room.Finding(name, "note", "not checked (--offline)") for name in services]
    else:
        findings += room.examine_network(services)
    if json:
        print_json(asdict(finding) for finding in findings)
    else:
        print_table(("topic", "state", "what was found"), ([f.topic, f.state, f.text] for f in findings))
    missing = [finding.topic for finding in findings if finding.needed and finding.state == "missing"]
    if missing:
        raise MissingDependencyError(
            f"'mutscan score' cannot run without {', '.join(missing)}; see the table"
        )
    terminal.say("'mutscan score' can run")
