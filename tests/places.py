"""Where the project's own files are, for every test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLOBIN = ROOT / "examples" / "globin"
CLUSTER = ROOT / "examples" / "cluster"
