"""Score variants of the example protein from Python: the README's five lines."""

import mutscan

run = mutscan.score(
    "examples/globin/wild_type.cif", ["L38D", "H97A", "K144R"], out="globin-run", offline=True
)
print(run.variants[["variant", "tm_predicted", "lddt_percentile", "lddt_measured_min", "ca_shift_site"]])
print(run.residues.query("variant == 'H97A' and affected")[["position", "wild_type", "lddt_predicted"]])
run.to_html("globin-report.html")
