"""The plugin as Scipion sees it, and the one place that knows how the engine is started."""

# SPDX-License-Identifier: GPL-3.0-or-later
import importlib.util
import os
import shlex
import sys

import pwem
import pyworkflow.utils as pwutils

from pcainit import __url__
from pcainit.guide import guide

NEEDED = ("numpy", "scipy", "sklearn", "numba", "mrcfile", "matplotlib", "jinja2", "gemmi")


class Plugin(pwem.Plugin):
    """Scipion plugin without binaries: the engine is Python, installed with the plugin."""

    # Scipion looks for the plugin's folder and name in the module of this class.
    __module__ = "pcainit"
    _processingField = ["SPA"]
    _url = __url__

    @classmethod
    def getUrl(cls, protClass=None):
        """The guide: an address, or the links that the form's help shows.

        A form's help asks with the class of the protocol.  Its second link is the guide that came
        with this version, for where there is no network.
        """
        if protClass is None:
            return cls._url
        pages = "[[%s#readme][%s]]" % (cls._url, cls._url)
        return "%s\nThe same without a network: [[%s][%s]]" % (pages, guide(), guide())

    @classmethod
    def _defineVariables(cls):
        """No configuration variables."""

    @classmethod
    def defineBinaries(cls, env):
        """No binaries to install."""

    @classmethod
    def getEnviron(cls):
        """Environment of the engine: Scipion's own, with this very pcainit first on the path."""
        environ = pwutils.Environ(os.environ)
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environ.set("PYTHONPATH", here, position=pwutils.Environ.BEGIN)
        return environ

    @classmethod
    def getProgram(cls):
        """Absolute path of the interpreter, which cluster nodes must see too."""
        return shlex.quote(sys.executable)

    @classmethod
    def getArguments(cls, stage, *arguments):
        """Arguments that make the interpreter run one stage of the engine.

        Parameters
        ----------
        stage : str
            Its command, such as ``prepare`` or ``class-volumes``.
        *arguments
            Further words of the command line, quoted here as the shell needs them.

        Returns
        -------
        str
            For ``runJob(Plugin.getProgram(), ...)``.
        """
        return " ".join(
            ["-m", "pcainit"] + [shlex.quote(str(word)) for word in (stage,) + arguments]
        )

    @classmethod
    def validateInstallation(cls):
        """Python packages that are missing, in one sentence; an empty list when all are there."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if not missing:
            return []
        return [
            "pcainit needs the Python packages %s: install the plugin again with Scipion's "
            "plugin manager." % ", ".join(missing)
        ]
