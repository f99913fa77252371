"""What is logged, and how often."""
import unittest

from idem.report import Events, Once, Seldom, tail


class Logs(unittest.TestCase):
    def test_an_error_of_every_request_is_said_once_a_second_with_a_count(self):
        seldom = Seldom()
        with self.assertLogs("idem", "ERROR") as logs:
            for _ in range(5):
                seldom.error("record %s", "x")
            seldom._next = 0.0  # a second later
            seldom.error("record %s", "y")
        self.assertEqual([record.getMessage() for record in logs.records],
                         ["record x (1 since the last such line)", "record y (5 since the last such line)"])

    def test_a_warning_is_said_once(self):
        once = Once()
        with self.assertLogs("idem", "WARNING") as logs:
            once.warning("set scope")
            once.warning("set scope")
        self.assertEqual(len(logs.records), 1)

    def test_what_an_event_raises_is_logged(self):
        def on_event(_name, _fields):
            raise RuntimeError("no")
        with self.assertLogs("idem", "ERROR"):
            Events(on_event).tell("claimed", {})

    def test_a_record_is_named_by_its_last_characters(self):
        self.assertEqual(tail("http:0123456789abcdef"), "89abcdef")
