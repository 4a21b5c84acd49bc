"""Score variants of the example protein from Python: the README's lines."""

import mutscan

run = mutscan.score("examples/globin/wild_type.cif", ["H97A", "A33P"], out="globin-python", offline=True)
print(run.variants[["variant", "z_score", "lddt_measured_site"]])
print(run.residues.query("affected").groupby("variant")["position"].agg(["min", "max"]))
run.to_html("globin.html")
print(mutscan.compare("examples/globin/wild_type.cif", "globin-python/structures/A33P.cif").tm_measured)
