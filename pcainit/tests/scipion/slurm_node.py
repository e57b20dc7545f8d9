"""A SLURM of one node on this machine, for the time of the tests: no systemd, no system files."""

# SPDX-License-Identifier: GPL-3.0-or-later
import contextlib
import ctypes
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
PLACES = os.pathsep.join(["/usr/sbin", "/sbin"])  # of daemons, not on everyone's path
CONFIG = """ClusterName=pcainit
SlurmctldHost=%(host)s(127.0.0.1)
SlurmUser=%(user)s
SlurmdUser=%(user)s
AuthType=auth/munge
AuthInfo=socket=%(folder)s/munge.socket
CredType=cred/munge
SlurmctldPort=%(controller)d
SlurmdPort=%(node)d
StateSaveLocation=%(folder)s/state
SlurmdSpoolDir=%(folder)s/spool
SlurmctldPidFile=%(folder)s/slurmctld.pid
SlurmdPidFile=%(folder)s/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=3600
NodeName=%(host)s NodeAddr=127.0.0.1 CPUs=16 RealMemory=65536 State=UNKNOWN
PartitionName=batch Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP
"""


def missing():
    """Programs that are not installed."""
    return [name for name in PROGRAMS if not _program(name)]


def _program(name):
    return shutil.which(name) or shutil.which(name, path=PLACES)


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _die_with_parent():
    """In a daemon before it starts: it gets SIGTERM when the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class SlurmNode:
    """Start munged, slurmctld and slurmd in a folder of their own; `stop` ends them.

    Raises
    ------
    RuntimeError
        A daemon does not start: its last words.
    """

    def __init__(self, patience=180):
        self.folder = Path(tempfile.mkdtemp(prefix="pcainit-slurm-", dir="/tmp"))  # short: sockets
        self.folder.chmod(0o755)  # munged wants its socket to be in reach
        self.daemons = []
        self._write_config()
        self._conf_before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        try:
            place = str(self.folder)
            self._start(
                "munged",
                "--foreground",
                "--key-file=%s/munge.key" % place,
                "--socket=%s/munge.socket" % place,
                "--pid-file=%s/munge.pid" % place,
                "--seed-file=%s/munge.seed" % place,
            )
            self._wait((self.folder / "munge.socket").exists, patience)
            self._start("slurmd", "-D")
            self._start_controller(patience)
        except BaseException:
            self.stop()
            raise

    def _write_config(self):
        controller, node = _free_ports(2)
        (self.folder / "slurm.conf").write_text(
            CONFIG
            % dict(
                host=socket.gethostname().split(".")[0],
                user=getpass.getuser(),
                folder=self.folder,
                controller=controller,
                node=node,
            )
        )
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()

    def _start(self, name, *words):
        with open(self.folder / (name + ".log"), "wb") as log:
            self.daemons.append(
                (
                    name,
                    subprocess.Popen(
                        [_program(name), *words],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        preexec_fn=_die_with_parent,
                    ),
                )
            )

    def _wait(self, ready, patience):
        last = time.time() + patience
        while True:
            ended = [name for name, process in self.daemons if process.poll() is not None]
            if not ended and ready():
                return
            if ended or time.time() > last:
                name = ended[0] if ended else self.daemons[-1][0]
                lines = (self.folder / (name + ".log")).read_text(errors="replace").split("\n")
                lines = [line for line in lines if line.strip()] or ["it says nothing"]
                raise RuntimeError("%s does not start: %s" % (name, lines[-1]))
            time.sleep(0.2)

    def _start_controller(self, patience):
        self._start("slurmctld", "-D", "-c")
        self._wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), patience)

    def forget(self, patience=180):
        """Lose all jobs and all memory of them, as when machines break down."""
        for process in self.processes():  # first who would tell of the others' end
            process.kill()
        _, controller = self.daemons.pop()
        controller.terminate()
        controller.wait(60)
        self._start_controller(patience)

    def ask(self, *command):
        """What one of SLURM's commands prints; empty if it fails or does not answer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60
            ).stdout
        return ""

    def jobs(self):
        """{number: (name, state)} of all jobs so far."""
        found = re.findall(
            r"JobId=(\d+) JobName=(\S+).*? JobState=(\S+)",
            self.ask("scontrol", "show", "jobs", "-o"),
        )
        return {int(number): (name, state) for number, name, state in found}

    def waiting(self):
        """Numbers of the jobs that are not over."""
        return [int(word) for word in self.ask("squeue", "-h", "-o", "%A").split()]

    def stop(self):
        """End all jobs and daemons and remove the folder."""
        if len(self.daemons) == 3:
            self.ask("scancel", "--user", getpass.getuser())
            last = time.time() + 10
            while self.waiting() and time.time() < last:
                time.sleep(0.2)
        for _, process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._conf_before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = self._conf_before
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def processes(self):
        """Processes of this SLURM's jobs, SLURM's own first."""
        own, found = [], []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                variables = process.environ()
                if (
                    variables.get("SLURM_CONF") == str(self.folder / "slurm.conf")
                    and "SLURM_JOB_ID" in variables
                ):
                    found.append(process)
                    parent = process.parent()  # it has written its title over its variables
                    if parent is not None and parent.name().startswith("slurmstepd"):
                        own.append(parent)
        return own + found
