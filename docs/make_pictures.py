"""Make the pictures of the report, of the form and of the viewer that the documentation shows.

usage: python docs/make_pictures.py PARTICLES.star RESULT [OUT] [ROUTE=FOLDER ...]

RESULT is the folder of a finished run (pcainit run PARTICLES.star -o RESULT); OUT is
docs/pictures by default, with a folder for each width of the screen. ROUTE is volumes, latents,
variance, compare or run, and FOLDER the result of that command: report and viewer are
photographed with the folder's name in front. With "-" in place of RESULT, only these are. The
report needs chromium; form and viewer need Scipion, Xvfb, openbox and ImageMagick, and are left
out where these are missing.
"""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

WIDTHS = (1280, 1920)  # a laptop, and a projector
TALLEST = 9000
LARGEST = 150e3  # bytes
PART = 1500  # pixels of the report's page in one picture, about
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--enable-unsafe-swiftshader",  # the volumes are drawn by WebGL
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
HOSTS = """[localhost]
PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s
NAME = localhost
MANDATORY = False
SUBMIT_COMMAND = %_(JOB_SCRIPT)s
SUBMIT_TEMPLATE =
    %_(JOB_COMMAND)s
CHECK_COMMAND = ""
CANCEL_COMMAND = ""
QUEUES = { }
"""


def main(star, result, out, routes):
    """Make all pictures that the installed programs allow."""
    out.mkdir(parents=True, exist_ok=True)
    results = [("", result)] if str(result) != "-" else []
    for prefix, folder in results + [(path.name + "_", path) for _, path in routes]:
        if (folder / "report.html").exists():
            report_pictures(folder, out, prefix)
    missing = [name for name in ("Xvfb", "import", "openbox") if not shutil.which(name)]
    missing += [name for name in ("pwem", "tkinter") if importlib.util.find_spec(name) is None]
    if missing:
        print("no pictures of form and viewer: %s not found" % ", ".join(missing))
    else:
        scipion_pictures(star, result, out, routes)


def report_pictures(result, out, prefix=""):
    """The whole page at each width, in parts."""
    from pcainit.output.report import write_report

    with open(result / "summary.json", encoding="utf-8") as file:
        write_report(result, json.load(file))
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder:
            shot = Path(folder, "shot.png")
            subprocess.run(
                [
                    shutil.which("chromium") or "chromium-browser",
                    *CHROMIUM,
                    "--user-data-dir=%s/profile" % folder,
                    "--screenshot=%s" % shot,
                    "--window-size=%d,%d" % (width, TALLEST),
                    (result / "report.html").resolve().as_uri(),
                ],
                check=True,
                timeout=120,
                stderr=subprocess.DEVNULL,
            )
            page = Image.open(shot).convert("RGB")
        for number, part in enumerate(parts(page), 1):
            save(part, out / str(width) / ("%sreport_%d.png" % (prefix, number)))


def parts(page):
    """The page without its blank rest, cut between two lines."""
    inked = (np.asarray(page) != 255).any(axis=(1, 2))
    bottom = min(page.height, np.flatnonzero(inked)[-1] + 40)
    blank = np.flatnonzero(~inked[:bottom])
    count = max(1, round(bottom / PART))
    cuts = [int(blank[np.abs(blank - bottom * k // count).argmin()]) for k in range(1, count)]
    return [page.crop((0, top, page.width, end)) for top, end in zip([0, *cuts], [*cuts, bottom])]


def save(picture, path):
    """Save as a small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for colours in (256, 128, 64, 32):
        picture.quantize(colours, Image.Quantize.MAXCOVERAGE, 3, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
        if path.stat().st_size <= LARGEST:
            break
    print("%s  %d x %d, %.0f kB" % (path, *picture.size, path.stat().st_size / 1e3))


def scipion_pictures(star, result, out, routes):
    """The form, its wizards and the windows of "Analyze results", on screens of each width."""
    script = str(Path(__file__).resolve().with_name("scipion_pictures.py"))
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as home, screen(width):
            Path(home, "hosts.conf").write_text(HOSTS)
            environment = dict(
                os.environ,
                SCIPION_HOME=home,
                SCIPION_USER_DATA=home,
                SCIPION_HOSTS="%s/hosts.conf" % home,
                SCIPION_DOMAIN="pwem",
                SCIPION_NOTIFY="False",
            )
            result = result if str(result) == "-" else result.resolve()
            subprocess.run(
                [
                    sys.executable,
                    script,
                    str(star.resolve()),
                    str(result),
                    str(out.resolve() / str(width)),
                    str(width),
                    *("%s=%s" % (name, path.resolve()) for name, path in routes),
                ],
                check=True,
                timeout=1200,
                env=environment,
            )


def grab(window, path):
    """Photograph one window."""
    window.deiconify()
    window.lift()
    for _ in range(3):
        window.update()
        window.after(300)
    with tempfile.TemporaryDirectory() as folder:
        shot = os.path.join(folder, "shot.png")
        subprocess.run(["import", "-window", str(window.winfo_id()), shot], check=True)
        save(Image.open(shot).convert("RGB"), path)


@contextlib.contextmanager
def screen(width):
    """A virtual screen with a window manager."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "%dx%dx24" % (width, width * 5 // 8)],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as answer:
        os.environ["DISPLAY"] = ":" + answer.readline().strip()
    manager = subprocess.Popen(["openbox"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        manager.terminate()
        manager.wait()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    plain = [word for word in sys.argv[1:] if "=" not in word]
    if not 2 <= len(plain) <= 3:
        sys.exit(__doc__)
    main(
        Path(plain[0]),
        Path(plain[1]),
        Path(*plain[2:] or [Path(__file__).parent / "pictures"]),
        [
            (name, Path(path))
            for name, _, path in (word.partition("=") for word in sys.argv[1:] if "=" in word)
        ],
    )
