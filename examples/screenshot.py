"""Photograph the report of a run for the README, in Debian's Chromium.

    python examples/screenshot.py RUN/report.html examples/report.png [--variant L38D] [--width 1400]

Needs playwright (``pip install playwright``), Pillow and Chromium; asks no network.
"""

import argparse
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("report", type=Path)
parser.add_argument("picture", type=Path)
parser.add_argument("--variant", help="the variant to open (default: the one that matters most)")
parser.add_argument("--width", type=int, default=1400)
parser.add_argument("--height", type=int, default=1500, help="of the part with the variant")
parser.add_argument("--top", type=int, default=430, help="height of the part with the headline")
parser.add_argument("--dark", action="store_true")
chosen = parser.parse_args()

program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if program is None:
    parser.error("no Chromium here")
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=program,
        args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    )
    page = browser.new_page(
        viewport={"width": chosen.width, "height": chosen.height},
        color_scheme="dark" if chosen.dark else "light",
        bypass_csp=True,  # the page forbids eval, by which playwright waits
    )
    page.set_default_timeout(180_000)
    address = chosen.report.resolve().as_uri()
    page.goto(f"{address}#v={chosen.variant}" if chosen.variant else address)
    page.wait_for_function("document.body.dataset.state === 'drawn'")
    page.wait_for_function(
        "!document.querySelector('.stage') || document.querySelector('.stage').dataset.view"
    )
    page.wait_for_timeout(4000)  # software drawing of WebGL may need another frame or two
    whole = Image.open(BytesIO(page.screenshot(full_page=True)))
    start = int(
        page.evaluate("document.querySelector('#variant, #scan').getBoundingClientRect().top + scrollY")
    )
    browser.close()
picture = Image.new("RGB", (chosen.width, chosen.top + chosen.height))
picture.paste(whole.crop((0, 0, chosen.width, chosen.top)), (0, 0))
picture.paste(whole.crop((0, start, chosen.width, start + chosen.height)), (0, chosen.top))
picture = picture.resize((round(0.8 * picture.width), round(0.8 * picture.height)), Image.Resampling.LANCZOS)
# 256 colours keep it small; maximum coverage keeps the rare ones, such as that of one verdict.
small = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
small.save(chosen.picture, optimize=True)
print(f"{chosen.picture}: {chosen.picture.stat().st_size / 1000:.0f} kB")
