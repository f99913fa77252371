"""What `make client-install` leaves: programs compile, link and run with it; the manual pages are correct."""

import os
import subprocess
import unittest

import manual
from harness import ROOT
from support import BUILD, Case, shell, url

PREFIX = "/opt/idem"
STRICT = ["-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wpedantic", "-Werror"]
CXX_PROGRAM = """#include <idem.h>
int main() { struct idem_request request = {}; return request.flags != 0 || idem_version()[0] == 0; }
"""
INSTRUMENTED = os.path.basename(BUILD) != "release"


def built_environment():
    """The environment without the variables of an enclosing make."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and
            name != "MFLAGS"}


@unittest.skipIf(INSTRUMENTED, "an instrumented library wants an instrumented program")
class Installed(Case):
    def setUp(self):
        super().setUp()
        self.root = self.path("root")
        shell(["make", "-s", "-C", ROOT, "client-install", f"DESTDIR={self.root}", f"PREFIX={PREFIX}",
               "PYTHON=false"], env=built_environment())

    def installed(self, *parts):
        return os.path.join(self.root, PREFIX[1:], *parts)

    def flags(self, *arguments):
        environment = {**os.environ, "PKG_CONFIG_PATH": self.installed("lib/pkgconfig"),
                       "PKG_CONFIG_SYSROOT_DIR": self.root}
        return subprocess.check_output(["pkg-config", *arguments, "libidem"], env=environment,
                                       text=True).split()

    def source(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def test_a_program_by_pkg_config(self):
        server = self.start()
        text = manual.example_of(manual.PAGES[2])
        self.assertIn("redis://127.0.0.1:4336", text)
        source = self.source("program.c", text.replace("redis://127.0.0.1:4336", url(server)))
        shell(["cc", *STRICT, "-o", self.path("shared"), source, *self.flags("--cflags", "--libs")])
        environment = {**os.environ, "LD_LIBRARY_PATH": self.installed("lib")}
        needed = shell(["readelf", "-d", self.path("shared")])
        self.assertRegex(needed, r"NEEDED.*\[libidem\.so\.\d+\]")
        self.assertEqual(subprocess.check_output([self.path("shared")], env=environment), b"RUN: paid\n")
        libraries = [word for word in self.flags("--libs", "--static") if word != "-lidem"]
        shell(["cc", *STRICT, "-o", self.path("static"), source, *self.flags("--cflags"),
               self.installed("lib/libidem.a"), *libraries])
        self.assertNotIn("libidem", shell(["readelf", "-d", self.path("static")]))
        self.assertEqual(subprocess.check_output([self.path("static")]), b"REPLAY: paid\n")

    def test_cxx_and_the_adapters(self):
        source = self.source("program.cc", CXX_PROGRAM)
        shell(["c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-o", self.path("cxx"), source,
               *self.flags("--cflags", "--libs")])
        for adapter, package in (("idem_uv.h", "libuv"), ("idem_event.h", "libevent")):
            if not os.path.exists(os.path.join(ROOT, "client", adapter)):
                continue
            source = self.source("adapter.c", f"#include <{adapter}>\nint main(void) {{ return 0; }}\n")
            packages = subprocess.check_output(["pkg-config", "--cflags", package], text=True).split()
            # libuv's header needs more than C11.
            shell(["cc", *STRICT, "-D_GNU_SOURCE", "-fsyntax-only", source, *self.flags("--cflags"), *packages])

    def test_versions_and_names(self):
        version = self.flags("--modversion")[0]
        with open(self.installed("include/idem.h"), encoding="utf-8") as file:
            self.assertIn(f'#define IDEM_CLIENT_VERSION "{version}"', file.read())
        library = self.installed("lib", f"libidem.so.{version}")
        soname = f"libidem.so.{version.split('.')[0]}"
        self.assertIn(f"[{soname}]", shell(["readelf", "-d", library]))
        for link in (soname, "libidem.so"):
            self.assertEqual(os.path.realpath(self.installed("lib", link)), os.path.realpath(library))
        exported = [line.split()[-1] for line in shell(["nm", "-D", "--defined-only", library]).splitlines()]
        self.assertTrue(exported)
        versions = ["IDEM_0.1"]  # the symbols' own; the node of a version is a name as well
        self.assertEqual([name for name in exported if not name.startswith("idem_")], versions)
        for line in shell(["nm", "-g", "--defined-only", self.installed("lib/libidem.a")]).splitlines():
            if len(line.split()) == 3:
                self.assertTrue(line.split()[-1].startswith("idem_"), line)

    def test_idem_once_and_its_page(self):
        server = self.start()
        argv = [self.installed("bin/idem-once"), "--server", url(server), "--key", "k", "echo", "x"]
        self.assertEqual(subprocess.check_output(argv), b"x\n")
        page = shell(["man", "-M", self.installed("share/man"), "idem-once"],
                     env={**os.environ, "MANWIDTH": "80"})
        help_text = subprocess.check_output([argv[0], "--help"], text=True)
        for word in sorted({word.strip("[],.") for word in help_text.split() if word.startswith(("--", "[--"))}):
            if word != "--":
                self.assertIn(word, page.replace("\u2010\n", "-").replace("\u2010", "-"), "in idem-once(1)")


class Pages(unittest.TestCase):
    def test_options_of_the_server_are_those_of_its_help(self):
        self.assertEqual(manual.main(), 0)


if __name__ == "__main__":
    unittest.main()
