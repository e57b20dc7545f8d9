"""Installation of the pcainit plugin."""

# SPDX-License-Identifier: GPL-3.0-or-later
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
INIT = (HERE / "pcainit" / "__init__.py").read_text()
VERSION, URL = (
    re.search(r'^__%s__ = "(.+?)"' % name, INIT, re.MULTILINE).group(1)
    for name in ("version", "url")
)
README = HERE / "README.md"

# What users read: its links stay right, as all keep their places.
PAGES = (
    "*.md",
    "LICENSE",
    "CITATION.cff",
    "benchmarks/*.md",
    "docs/*.md",
    "docs/*.py",
    "docs/benchmarks/*.md",
    "docs/pictures/1280/*.png",
)


class BuildWithGuide(build_py):
    """Copies the guide into the package, where the form and the command line find it."""

    def run(self):
        """Build, then copy."""
        super().run()
        for pattern in PAGES if not getattr(self, "editable_mode", False) else ():
            for page in HERE.glob(pattern):
                target = Path(self.build_lib) / "pcainit" / "guide" / page.relative_to(HERE)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(page), str(target))


def description():
    """README.md with its links to other pages made whole, for package indexes."""
    if not README.exists():
        return ""
    text = README.read_text(encoding="utf-8")
    here = r"\]\((?!https?:|#)(?!docs/pictures/)"
    text = re.sub(here, "](%s/blob/main/" % URL, text)
    return re.sub(r"\]\((?=docs/pictures/)", "](%s/raw/main/" % URL, text)


# Scipion brings these itself; the command line works without them.
SCIPION = ["scipion-pyworkflow>=3.11", "scipion-em>=3.11"]

setup(
    name="scipion-em-pcainit",
    version=VERSION,
    description="Initial volumes for 3D classification of cryo-EM particles, by PCA.",
    long_description=description(),
    long_description_content_type="text/markdown",
    url=URL,
    project_urls={
        "Documentation": URL + "#readme",
        "Changes": URL + "/blob/main/CHANGES.md",
        "Bugs and questions": URL + "/issues",
    },
    author="The pcainit developers",
    cmdclass={"build_py": BuildWithGuide},
    license="GPL-3.0-or-later",
    keywords="scipion cryoem imageprocessing classification heterogeneity scipion-3",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
    ],
    packages=find_packages(include=["pcainit", "pcainit.*"]),
    include_package_data=True,  # the files of MANIFEST.in
    python_requires=">=3.8",
    install_requires=[
        "numpy",
        "scipy",
        "scikit-learn>=1.2",
        "numba>=0.57",
        "threadpoolctl>=3.1",  # older ones print an error with numpy's BLAS
        "mrcfile>=1.4",
        "matplotlib",
        "jinja2>=3.0",
        "gemmi>=0.7",
    ],
    extras_require={
        "scipion": SCIPION,
        # Compressed .cs files, and docs/cryosparc_register.py; its version is the server's.
        "cryosparc": ["cryosparc-tools"],
        "docs": ["sphinx", "myst-parser", "furo"],
        "test": SCIPION
        + [
            "scipion-app",
            "scipion-em-relion",
            "scipion-em-cryosparc2",
            # Their classes make the sets that the tests read.
            "scipion-em-cryodrgn",
            "scipion-em-recovar",
            "scipion-em-flexutils",
            "scipion-em-xmipp",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "import-linter",
        ],
    },
    entry_points={
        "pyworkflow.plugin": ["pcainit = pcainit"],
        "console_scripts": ["pcainit = pcainit.__main__:console"],
    },
)
