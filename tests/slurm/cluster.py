"""A SLURM cluster of two virtual nodes on this machine: a real controller and two real daemons, on ports and
files of their own, without cgroups, accounting or an init system.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sinfo")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PATIENCE_SEC = 60

CONFIGURATION = """
ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=v1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName=v2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=v1,v2 Default=YES MaxTime=30 State=UP
"""


def reason_for_none() -> str:
    """Why no cluster can be started here; empty if one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing:
        return f"{', '.join(missing)} are not installed"
    if os.geteuid() != 0:
        return "slurmd wants to be root"
    if not os.listdir("/sys/fs/cgroup"):
        return "slurmd ends where nothing is mounted on /sys/fs/cgroup"
    return ""


class Cluster:
    """Running from construction to `stop`; all its files lie in `folder`, which must have a short path."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": PATH,
        }
        for name in ("state", "spool-v1", "spool-v2"):
            (folder / name).mkdir()
        text = CONFIGURATION.format(host=self.host, folder=folder, ports=_free_ports(3))
        (folder / "slurm.conf").write_text(text)
        self._start_munge()
        self.run("slurmctld", "-c", "-f", str(folder / "slurm.conf"))
        for node in ("v1", "v2"):
            self.run("slurmd", "-N", node, "-f", str(folder / "slurm.conf"))
        self.wait_until(lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D") == "2", "idle nodes")

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        # --force: a folder of a test is none that munge would trust.
        self.run("munged", "--force", *(f"--{option}={self.folder / name}" for option, name in files.items()))

    def run(self, *command: str, **more: str) -> str:
        """What a command prints; fails with what it says of an error."""
        # Not by pipes for what becomes a daemon: it would hold them open.
        with (self.folder / "command.out").open("w+") as out:
            ended = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, env={**self.environment, **more}, check=False
            )
            out.seek(0)
            printed = out.read().strip()
        assert ended.returncode == 0, f"{' '.join(command)}: {printed}"
        return printed

    def wait_until(self, is_so, what: str, seconds: float = PATIENCE_SEC):
        """The first true value of `is_so()`; fails when there is none in time."""
        deadline = time.monotonic() + seconds
        while not (value := is_so()):
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}\n{self.logs()}"
            time.sleep(0.3)
        return value

    def logs(self) -> str:
        """The ends of what the daemons wrote."""
        return "\n".join(f"{p.name}\n{p.read_text()[-1500:]}" for p in sorted(self.folder.glob("*.log")))

    def facts(self, job: str) -> dict[str, str]:
        """What the controller knows of a job, by its own names: JobState, Restarts, ExitCode and others."""
        words = self.run("scontrol", "-o", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def stop(self) -> None:
        """Ends what was started, by the pid files."""
        for name in ("slurmctld", "slurmd-v1", "slurmd-v2", "munged"):
            path = self.folder / f"{name}.pid"
            if path.exists() and (pid := path.read_text().strip()):
                os.kill(int(pid), signal.SIGTERM)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
