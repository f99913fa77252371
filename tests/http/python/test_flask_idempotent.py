"""In place of Flask-Idempotent: its documented usage, and what it promised."""
import re
import threading

from flask import Flask, render_template_string, request
from shared_server import WithServer


class ItsUsage(WithServer):
    def application(self, **config):
        # As its documentation has it: the extension before the configuration.
        from flask_idempotent import Idempotent
        my_app = Flask(__name__)
        self.extension = Idempotent(my_app)
        my_app.config.update({"REDIS_URL": self.url, **config})
        self.ran, self.go_on, self.running = [], threading.Event(), threading.Event()

        @my_app.route("/", methods=["GET", "POST"])
        def form():
            if "order" in request.values:
                self.ran.append(request.values["order"])
                if request.values.get("wait"):
                    self.running.set()
                    self.go_on.wait(60)
                return f"order {len(self.ran)}", 201
            return render_template_string("<form>{{ idempotent_input() }}</form>")
        return my_app

    def key_of_form(self, client):
        page = client.get("/").get_data(as_text=True)
        return re.search(r'<input type="hidden" name="__idempotent_key" value="(\w+)">', page)[1]

    def test_a_form_that_is_sent_twice_runs_once(self):
        client = self.application().test_client()
        data = {"order": "tea", "__idempotent_key": self.key_of_form(client)}
        first, second = (client.post("/", data=data) for _ in range(2))
        self.assertEqual([(first.status_code, first.data), (second.status_code, second.data)], [(201, b"order 1")] * 2)
        self.assertEqual(self.ran, ["tea"])
        self.assertNotEqual(self.key_of_form(client), data["__idempotent_key"])

    def test_the_key_may_be_an_argument_or_a_header_and_the_method_get(self):
        client = self.application().test_client()
        for number, send in enumerate((
                lambda: client.get(f"/?order=1&__idempotent_key={self.key}"),
                lambda: client.post(f"/?order=2&__idempotent_key={self.key}"),
                lambda: client.post("/", data={"order": "3"}, headers={"X-Idempotent-Key": self.key}),
                lambda: client.post("/", data={"order": "4", "__idempotent_key": self.key + "f"},
                                    content_type="multipart/form-data")), 1):
            self.key += "x"
            self.assertEqual([send().data, send().data], [b"order %d" % number] * 2)

    def test_an_argument_with_escapes_in_its_name_is_the_key_too(self):
        client = self.application().test_client()
        replies = [client.post(f"/?order=tea&__idempotent%5Fkey={self.key}") for _ in range(2)]
        self.assertEqual([reply.data for reply in replies], [b"order 1"] * 2)

    def test_a_wrong_configuration_is_told_to_each_request(self):
        client = self.application(IDEMPOTENT_BUSY=200).test_client()
        for _ in range(2):
            self.assertRaises(ValueError, client.get, "/")

    def test_requests_without_a_key_run_each_time(self):
        client = self.application().test_client()
        for expected in (b"order 1", b"order 2"):
            self.assertEqual(client.post("/", data={"order": "tea"}).data, expected)

    def test_later_requests_wait_for_the_first(self):
        app = self.application()
        replies = []

        def send():
            replies.append(app.test_client().post("/", data={"order": "tea", "wait": "1", "__idempotent_key": self.key}))
        threads = [threading.Thread(target=send) for _ in range(10)]
        threads[0].start()
        self.running.wait(60)
        for thread in threads[1:]:
            thread.start()
        self.await_waiters(9)
        self.go_on.set()
        for thread in threads:
            thread.join()
        self.assertEqual({(each.status_code, each.data) for each in replies}, {(201, b"order 1")})

    def await_waiters(self, count):
        import harness
        harness.eventually(lambda: any(self.ask("INSPECT", name)[19] == count for name in self.records()), "they wait")

    def test_after_the_time_out_it_is_408_or_409(self):
        for status, config in ((408, {}), (409, {"IDEMPOTENT_BUSY": 409})):
            app = self.application(IDEMPOTENT_TIMEOUT=0.1, **config)
            data = {"order": "tea", "wait": "1", "__idempotent_key": self.key + str(status)}
            first = threading.Thread(target=lambda: app.test_client().post("/", data=data))
            first.start()
            self.running.wait(60)
            reply = app.test_client().post("/", data=data)
            self.go_on.set()
            first.join()
            self.assertEqual((reply.status_code, reply.headers["Retry-After"], len(self.ran)), (status, "1", 1))

    def test_the_response_is_kept_for_idempotent_expire(self):
        client = self.application(IDEMPOTENT_EXPIRE=30).test_client()
        before = set(self.records())
        client.post("/", data={"order": "tea", "__idempotent_key": self.key})
        record, = set(self.records()) - before
        self.assertTrue(0 < self.ask("FETCH", record)[4] <= 30_000)

    def test_another_form_with_the_same_key_is_422(self):
        client = self.application().test_client()
        client.post("/", data={"order": "tea", "__idempotent_key": self.key})
        self.assertEqual(client.post("/", data={"order": "milk", "__idempotent_key": self.key}).status_code, 422)

    def test_where_the_key_stands_is_no_part_of_the_request(self):
        client = self.application().test_client()
        key = self.key
        for send in (lambda: client.post("/", data={"order": "tea", "__idempotent_key": key}),
                     lambda: client.post("/", data={"__idempotent_key": key, "order": "tea"}),
                     lambda: client.post(f"/?__idempotent_key={key}", data={"order": "tea"}),
                     lambda: client.post("/", data={"order": "tea"}, headers={"X-Idempotent-Key": key})):
            self.assertEqual((send().data, self.ran), (b"order 1", ["tea"]))

    def test_a_file_with_the_name_of_the_key_is_compared(self):
        client = self.application().test_client()
        from io import BytesIO

        def send(content):
            return client.post(f"/?__idempotent_key={self.key}", data={
                "order": "tea", "__idempotent_key": (BytesIO(content), "key.txt")}, content_type="multipart/form-data")
        self.assertEqual([send(b"1").status_code, send(b"1").status_code, send(b"2").status_code], [201, 201, 422])

    def test_a_malformed_key_is_refused(self):
        client = self.application().test_client()
        for key in ("", "k" * 256, "ü"):
            self.assertEqual(client.post("/", data={"order": "tea", "__idempotent_key": key}).status_code, 400)
        self.assertEqual(self.ran, [])

    def test_a_finder_of_keys_can_be_added(self):
        app = self.application()

        @self.extension.key_finder
        def of_header(of_request):
            return of_request.headers.get("X-My-Key")
        client = app.test_client()
        for _ in range(2):
            client.post("/", data={"order": "tea"}, headers={"X-My-Key": self.key})
        self.assertEqual(self.ran, ["tea"])
