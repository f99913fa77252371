"""Starts what a systemd unit starts, as systemd would: its user, umask, limits, directories, credentials and environment.

For a bare Debian (bare.py), where no systemd runs. It emulates what is written here and nothing else: of the hardening
only no-new-privs, the empty set of capabilities, and what /proc shows (test_unit.py has the system calls).
"""

import os
import resource
import shutil
import signal
import socket
import subprocess

import unit_file
from harness import HANG_SECONDS, eventually

DIRECTORIES = (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log"))


class Service:
    def __init__(self, bare, path):
        self.bare, self.unit = bare, unit_file.Unit(bare.path(path))
        self.name = os.path.basename(path)
        self.owner = bare.id(self.unit.get("User"))
        self.process = self.notified = None
        self.said = {}

    def _directories(self):
        environment = {}
        for setting, parent in DIRECTORIES:
            inside = f"{parent}/{self.unit.get(setting)}"
            os.makedirs(self.bare.path(inside), exist_ok=True)
            os.chmod(self.bare.path(inside), int(self.unit.get(setting + "Mode", "0755"), 8))
            os.chown(self.bare.path(inside), *self.owner)
            environment[{"RuntimeDirectory": "RUNTIME_DIRECTORY", "StateDirectory": "STATE_DIRECTORY",
                         "LogsDirectory": "LOGS_DIRECTORY"}[setting]] = inside
        return environment

    def _credentials(self):
        """As systemd lays them out: of root, readable by the user of the unit through an access list, which
        shows as a mode that lets the group read."""
        inside = "/run/credentials/" + self.name
        outside = self.bare.path(inside)
        shutil.rmtree(outside, ignore_errors=True)
        os.makedirs(outside)
        for value in self.unit.all("LoadCredential"):
            identity, _, source = value.partition(":")
            for name in os.listdir(self.bare.path(source)):
                copy = f"{outside}/{identity}_{name}"
                shutil.copyfile(self.bare.path(f"{source}/{name}"), copy)
                os.chmod(copy, 0o440)
                os.chown(copy, 0, self.owner[1])
        os.chmod(outside, 0o550)
        os.chown(outside, 0, self.owner[1])
        return {"CREDENTIALS_DIRECTORY": inside}

    def _proc(self):
        subset, protect = self.unit.get("ProcSubset", "all"), self.unit.get("ProtectProc", "default")
        return "-o rw" + (",subset=pid" if subset == "pid" else "") + \
            (f",hidepid={protect}" if protect != "default" else "")

    def _listen(self):
        inside = "/run/notify"
        if os.path.exists(self.bare.path(inside)):
            os.unlink(self.bare.path(inside))
        if self.notified:
            self.notified.close()
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(self.bare.path(inside))
        os.chmod(self.bare.path(inside), 0o777)
        self.notified.setblocking(False)
        return {"NOTIFY_SOCKET": inside, "WATCHDOG_USEC": str(self.unit.seconds("WatchdogSec") * 1000000)}

    def hear(self):
        """Takes in what the server has told its supervisor: name -> last value."""
        while True:
            try:
                told = self.notified.recv(4096).decode()
            except BlockingIOError:
                return self.said
            self.said.update(line.split("=", 1) for line in told.splitlines() if "=" in line)

    def start(self):
        """Returns when the service is ready, as its type says."""
        environment = self.bare.environment(**self._directories(), **self._credentials(), **self._listen())
        self.said = {}

        def limits():
            for name in ("NOFILE", "CORE"):
                which, value = getattr(resource, "RLIMIT_" + name), int(self.unit.get("Limit" + name))
                most = resource.getrlimit(which)[1]  # more than that only a machine's own root may have
                value = value if most == resource.RLIM_INFINITY else min(value, most)
                resource.setrlimit(which, (value, value))
            os.umask(int(self.unit.get("UMask"), 8))
        user, group = map(str, self.owner)
        # setpriv is in every Debian, and becomes the server.
        words = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs", "--inh-caps=-all",
                 "--bounding-set=-all", *self.unit.get("ExecStart").split()]
        with open(self.bare.path("/run/log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(self.bare.command(*words, proc=self._proc()), env=environment, preexec_fn=limits,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._ready, "the service is ready")
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the service left with {self.process.returncode}:\n{self.log()}")
        return self.hear().get("READY") == "1"

    def log(self):
        return self.bare.read("/run/log")

    def reload(self):
        # Not with exec: kill is a program of the machine outside, whose process this is.
        words = self.unit.get("ExecReload").replace("$MAINPID", str(self.process.pid)).split()
        subprocess.run(words, check=True)

    def reload_and_wait(self):
        """As `systemctl reload`, and until the server says that it is ready again."""
        self.hear().pop("READY", None)
        self.reload()
        eventually(lambda: self.hear().get("READY") == "1", "the service is ready again")

    def stop(self):
        """The exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(self.unit.seconds("TimeoutStopSec"))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(HANG_SECONDS)
        return status

    def kill(self):
        """As a crash would."""
        if self.process is not None:
            self.process.kill()
            self.stop()

    def close(self):
        self.kill()
        if self.notified:
            self.notified.close()
