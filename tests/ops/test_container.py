"""server/deploy/Dockerfile and kubernetes.yaml.

There is neither docker nor a cluster here. buildah, which needs no service, builds the Dockerfile for real, on a bare Debian
instead of the registry's image, and what the image says is started in it. The manifest is compared with Kubernetes' own
description of its fields, and its configuration starts the server, whose probes are asked.
"""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

import yaml

from bare import archive, need
from harness import PROGRAM, ROOT, Client, Server, eventually

DEPLOY = os.path.join(ROOT, "server/deploy")
PASSWORD = "a-password-of-the-test"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def instructions():
    """(NAME, rest) of the Dockerfile's instructions."""
    with open(os.path.join(DEPLOY, "Dockerfile"), encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", "".join(line for line in file if not line.startswith("#")))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)


class Image(Case):
    """Built from the Dockerfile by buildah."""

    def buildah(self, *words):
        environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run(["buildah", "--root", self.directory + "/root", "--runroot", self.directory + "/run",
                               *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        if done.returncode != 0:
            raise AssertionError(f"buildah {' '.join(words)}:\n{done.stdout[-3000:]}")
        return done.stdout.strip()

    def base(self):
        name = self.buildah("from", "scratch").splitlines()[-1]
        self.buildah("add", "-q", name, archive(["ca-certificates"]), "/")
        self.buildah("commit", "-q", name, "localhost/base")
        self.buildah("rm", name)

    def test_what_is_built_runs(self):
        need()
        self.base()
        self.buildah("bud", "--format=docker", "--layers=false", "--pull=never", "--build-arg=BASE=localhost/base",
                     "-t", "idem", "-f", os.path.join(DEPLOY, "Dockerfile"), ROOT)
        config = json.loads(self.buildah("inspect", "--type=image", "idem"))["Docker"]["config"]
        self.assertEqual(config["User"], "4336:4336")
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(list(config["Volumes"]), ["/data"])
        container = self.buildah("from", "--pull=never", "idem").splitlines()[-1]
        root = self.buildah("mount", container).splitlines()[-1]
        self.addCleanup(self.buildah, "umount", container)
        self.live(root, config)

    def run_inside(self, root, words, **more):
        # The test's own server may stand on the port of the image; HEALTHCHECK asks the one that is configured.
        return subprocess.Popen(["unshare", "-m", "-n", "sh", "-c", 'ip link set lo up; mount -t proc proc "$0/proc"; exec chroot --userspec=4336:4336 '
                                 '--groups= "$0" "$@"', root, *words], **more)

    def live(self, root, config):
        found = os.stat(root + "/data")
        self.assertEqual((found.st_uid, stat.S_IMODE(found.st_mode)), (4336, 0o700))
        self.assertFalse(os.path.exists(root + "/usr/bin/gcc"))
        words = config["Entrypoint"] + config["Cmd"]
        refused = self.run_inside(root, words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertIn("/run/secrets/idem/password", refused.communicate()[0], "it says that the password is missing")
        self.assertNotEqual(refused.returncode, 0)
        os.makedirs(root + "/run/secrets/idem", exist_ok=True)
        with open(root + "/run/secrets/idem/password", "w", encoding="ascii") as file:
            file.write(PASSWORD + "\n")
        os.chmod(root + "/run/secrets/idem/password", 0o444)
        log = os.path.join(self.directory, "log")
        with open(log, "w", encoding="utf-8") as file:
            server = self.run_inside(root, words, stdout=file, stderr=file)
        self.addCleanup(server.kill)

        def ready():
            with open(log, encoding="utf-8") as file:
                text = file.read()
            self.assertIsNone(server.poll(), text)
            return "ready to accept" in text
        eventually(ready, "the container's server is ready")
        health = config["Healthcheck"]["Test"]
        self.assertEqual(health[0], "CMD")
        asked = subprocess.run(["nsenter", "-t", str(server.pid), "-n", "chroot", "--userspec=4336:4336", "--groups=",
                                root, *health[1:]], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(asked.returncode, 0, asked.stdout)
        server.terminate()
        self.assertEqual(server.wait(60), 0)
        self.assertTrue(os.listdir(root + "/data/journal"))


class Read(Case):
    """What can be seen without building."""

    def test_what_it_copies_is_there(self):
        with open(os.path.join(DEPLOY, "Dockerfile.dockerignore"), encoding="utf-8") as file:
            sent = {line[1:].strip() for line in file if line.startswith("!")}
        copied = [rest.split()[0] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
        self.assertIn("Makefile", copied)
        for path in copied:
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)
            self.assertIn(path.split("/")[0], sent, "docker is not sent it")

    def test_it_installs_what_make_needs(self):
        with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
            needed = re.search(r"^PACKAGES_build\s*:=\s*(.*)$", file.read(), re.M)[1].split()
        first = next(rest for name, rest in instructions() if name == "RUN")
        self.assertEqual([package for package in needed if package not in first.split()], [])


class Manifest(Case):
    def setUp(self):
        super().setUp()
        with open(os.path.join(DEPLOY, "kubernetes.yaml"), encoding="utf-8") as file:
            self.objects = list(yaml.safe_load_all(file))
        self.pod = self.kind("StatefulSet")[0]["spec"]["template"]
        self.container = self.pod["spec"]["containers"][0]

    def kind(self, name):
        return [each for each in self.objects if each["kind"] == name]

    def test_kubernetes_knows_every_field(self):
        done = subprocess.run(["node", os.path.join(ROOT, "tests/ops/manifest.js")], input=json.dumps(self.objects),
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_its_parts_fit_each_other(self):
        labels = self.pod["metadata"]["labels"]
        stateful = self.kind("StatefulSet")[0]["spec"]
        self.assertEqual(stateful["selector"]["matchLabels"], labels)
        services = {each["metadata"]["name"]: each["spec"] for each in self.kind("Service")}
        self.assertIn(stateful["serviceName"], services)
        self.assertEqual(services[stateful["serviceName"]]["clusterIP"], "None")
        names = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        for service in services.values():
            self.assertEqual(service["selector"], labels)
            for port in service["ports"]:
                self.assertEqual(port["port"], names[port["targetPort"]])
        for policy in self.kind("NetworkPolicy") + self.kind("PodDisruptionBudget"):
            chosen = policy["spec"].get("podSelector") or policy["spec"]["selector"]
            self.assertEqual(chosen["matchLabels"], labels)
        for rule in self.kind("NetworkPolicy")[0]["spec"]["ingress"]:
            self.assertLessEqual({port["port"] for port in rule["ports"]}, set(names))
        volumes = {each["name"] for each in self.pod["spec"]["volumes"]}
        volumes |= {each["metadata"]["name"] for each in stateful["volumeClaimTemplates"]}
        self.assertEqual({mount["name"] for mount in self.container["volumeMounts"]}, volumes)
        self.assertEqual(self.pod["metadata"]["annotations"]["prometheus.io/port"], str(names["http"]))

    def test_it_is_restricted(self):
        """What the profile `restricted` of the Pod Security Standards asks for, and the user of the image."""
        pod, own = self.pod["spec"]["securityContext"], self.container["securityContext"]
        self.assertIs(pod["runAsNonRoot"], True)
        self.assertEqual(pod["seccompProfile"]["type"], "RuntimeDefault")
        self.assertIs(own["allowPrivilegeEscalation"], False)
        self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
        user = dict(instructions())["USER"]
        self.assertEqual(user, f"{pod['runAsUser']}:{pod['runAsGroup']}")
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], 60)

    def moved(self, text, places, ports):
        for place in places:
            text = text.replace(place, self.directory + place)
        for name, number in ports.items():
            text = text.replace(str(number), str(self.ports.setdefault(name, free_port())))
        return re.sub(r"^(bind|http-bind) .*$", r"\1 127.0.0.1", text, flags=re.M)

    def test_its_configuration_starts_the_server_and_its_probes_answer(self):
        self.ports = {}
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        data = self.kind("ConfigMap")[0]["data"]
        path, = self.container["args"]
        text = data[os.path.relpath(path, mounts["config"])]
        os.makedirs(self.directory + mounts["data"])
        os.makedirs(self.directory + mounts["secret"])
        with open(self.directory + mounts["secret"] + "/password", "w", encoding="ascii") as file:
            file.write(PASSWORD)
        os.chmod(file.name, 0o440)
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        text = self.moved(text, (mounts["data"], mounts["secret"]), ports)
        # Below $CREDENTIALS_DIRECTORY as below /run/secrets.
        environment = {"CREDENTIALS_DIRECTORY": self.directory + mounts["secret"]}
        with Server(config=text, env=environment, wait_ready=False) as server:
            server.address = ("127.0.0.1", self.ports["redis"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = self.container[probe]["httpGet"]
                self.assertEqual(asked["port"], "http")
                eventually(lambda asked=asked: self.ask(asked["path"], server) == 200, probe)
            with Client(server.address) as client:
                self.assertEqual(client.call("AUTH", PASSWORD), "OK")
                self.assertEqual(client.call("CONFIG", "GET", "appendfsync")[1], b"always")

    def ask(self, path, server):
        """As the kubelet does, by the address of the pod. The status."""
        self.assertIsNone(server.process.poll(), server.log())
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['http']}{path}",
                                         headers={"Host": "10.244.1.7:4337"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None


if __name__ == "__main__":
    unittest.main()
