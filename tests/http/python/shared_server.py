"""An idem server for the tests of one class."""
import unittest
import uuid

import harness


class WithServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server()
        cls.url = "redis://127.0.0.1:%d" % cls.server.address[1]

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.forget()

    def setUp(self):
        self.key = uuid.uuid4().hex

    def ask(self, *words):
        with self.server.client() as client:
            return client.call(*words)

    def state(self, record):
        found = self.ask("INSPECT", record)
        return None if found is None else found[1].decode()

    def records(self):
        return [name.decode() for name in self.ask("KEYS", "*")]
