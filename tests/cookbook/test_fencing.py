"""The recipes that fence: a process that is paused until another one has taken over and written is refused when it wakes up, and
what the other one has written stays. That of Postgres is tried in SQLite here, with `?` for `%s`; `run.py --postgres` runs it
as it is in a Postgres of its own."""
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile

from kitchen import Kitchen, open_bucket, recipes

PYTHON = "/usr/bin/python3"
POSTGRES = os.environ.get("IDEM_POSTGRES")  # its bin directory: with --postgres


class Fenced(Kitchen):
    """What each place has to show. `price()`: what it has now, `words`: the program."""

    def overtake(self, price):
        """The first is paused before it writes, another one writes this, the first wakes up. Returns the first."""
        first = self.run_program(*self.words, "tea")
        late = self.outside.next("GET /tea")
        first.pause()
        late.answer(b"100")
        self.lease_ends()
        second = self.run_program(*self.words, "tea")
        self.outside.next("GET /tea").answer(b"%d" % price)
        second.ends(str(price))
        self.assertEqual(self.price(), price)
        first.go_on()
        return first

    def check_one_that_wakes_up_too_late_is_refused(self, message):
        first = self.overtake(200)
        first.ends(status=1)
        self.assertIn(message, first.stderr())
        self.assertEqual(self.price(), 200)

    def check_a_duplicate_writes_nothing(self):
        program = self.run_program(*self.words, "tea")
        self.outside.next("GET /tea").answer(b"100")
        program.ends("100")
        self.spoil()
        self.run_program(*self.words, "tea").ends("100")
        self.assertEqual(self.price(), 7)


class PostgresRow(Fenced):
    words = (PYTHON, "price_postgres.py")
    TABLE = "CREATE TABLE product (id text PRIMARY KEY, price integer NOT NULL, fence bigint NOT NULL DEFAULT 0);"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = tempfile.mkdtemp(prefix="idem-postgres-")
        if POSTGRES:
            shutil.chown(cls.data, "postgres", "postgres")
            cls.as_postgres("initdb", "-A", "trust", "-N", cls.data)
            cls.as_postgres("pg_ctl", "-D", cls.data, "-w", "-l", os.path.join(cls.data, "log"), "-o",
                            f"-c listen_addresses= -c unix_socket_directories={cls.data} -c fsync=off", "start")
            return
        path = os.path.join(cls.folder, "price_postgres.py")
        text = recipes()["price_postgres.py"].replace("import psycopg2", "import sqlite3 as psycopg2")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("%s", "?"))

    @classmethod
    def tearDownClass(cls):
        if POSTGRES:
            cls.as_postgres("pg_ctl", "-D", cls.data, "-m", "immediate", "stop")
        shutil.rmtree(cls.data)
        super().tearDownClass()

    @staticmethod
    def as_postgres(program, *words):
        done = subprocess.run(["runuser", "-u", "postgres", "--", os.path.join(POSTGRES, program), *words], cwd="/",
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise AssertionError(f"{program}: {done.stderr}")

    def setUp(self):
        super().setUp()
        address = f"host={self.data} user=postgres dbname=postgres" if POSTGRES else os.path.join(self.data, "prices")
        self.environment["DATABASE"] = address
        for statement in ("DROP TABLE IF EXISTS product", self.TABLE, "INSERT INTO product (id, price) VALUES ('tea', 1)"):
            self.query(statement)

    def query(self, statement):
        if POSTGRES:
            import psycopg2
            database = psycopg2.connect(self.environment["DATABASE"])
        else:
            database = sqlite3.connect(self.environment["DATABASE"])
        with database:
            rows = database.cursor()
            rows.execute(statement)
            found = rows.fetchone() if rows.description else None
        database.close()
        return found

    def price(self):
        return self.query("SELECT price FROM product")[0]

    def spoil(self):
        self.query("UPDATE product SET price = 7")

    def test_the_table_is_that_of_the_page(self):
        with open(os.path.join(os.path.dirname(__file__), "..", "..", "client", "COOKBOOK.md"), encoding="utf-8") as file:
            self.assertIn(self.TABLE, file.read())

    def test_one_that_wakes_up_too_late_is_refused(self):
        self.check_one_that_wakes_up_too_late_is_refused("overtaken: a later owner has written")

    def test_a_duplicate_writes_nothing(self):
        self.check_a_duplicate_writes_nothing()


class S3Object(Fenced):
    words = ("node", "price_s3.js")
    PLACE = "/prices/tea"

    def setUp(self):
        super().setUp()
        self.needs_node("@aws-sdk/client-s3", "idem-node", "ioredis")
        self.bucket = open_bucket()
        self.addCleanup(self.bucket.close)
        self.environment.update(AWS_ENDPOINT_URL_S3=self.bucket.url, AWS_REGION="eu-central-1", AWS_ACCESS_KEY_ID="key",
                                AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1")

    def price(self):
        return json.loads(self.bucket.objects[self.PLACE])["price"]

    def spoil(self):
        self.bucket.objects[self.PLACE] = json.dumps({"price": 7, "fence": 0}).encode()

    def put_between(self, price, fence):
        """Another one writes after the next writer has looked and before it writes."""
        def put():
            self.bucket.objects[self.PLACE] = json.dumps({"price": price, "fence": fence}).encode()
        self.bucket.before_put = put

    def run_once(self):
        program = self.run_program(*self.words, "tea")
        self.outside.next("GET /tea").answer(b"100")
        return program

    def test_one_that_wakes_up_too_late_is_refused(self):
        self.check_one_that_wakes_up_too_late_is_refused("overtaken: a later owner has written")

    def test_a_duplicate_writes_nothing(self):
        self.check_a_duplicate_writes_nothing()

    def test_one_that_looked_before_a_later_owner_wrote_is_refused(self):
        self.put_between(200, 2 ** 53)
        program = self.run_once()
        program.ends(status=1)
        self.assertEqual(self.price(), 200)

    def test_so_is_one_that_looked_at_the_same_price(self):
        self.bucket.objects[self.PLACE] = json.dumps({"price": 200, "fence": 1}).encode()
        self.put_between(200, 2 ** 53)
        program = self.run_once()
        program.ends(status=1)
        self.assertEqual(json.loads(self.bucket.objects[self.PLACE]), {"price": 200, "fence": 2 ** 53})

    def test_one_that_looked_before_an_earlier_owner_wrote_writes_again(self):
        self.put_between(50, 1)
        self.run_once().ends("100")
        self.assertEqual((self.price(), self.bucket.puts.qsize()), (100, 2))


class HttpApi(Fenced):
    words = (PYTHON, "price_http.py")

    def setUp(self):
        super().setUp()
        self.environment["DATABASE"] = os.path.join(self.folder, self.id())
        api = self.site(PYTHON, "-m", "uvicorn", "prices:app", "--port", "PORT")
        self.environment["API"] = f"http://127.0.0.1:{api.port}"

    def query(self, statement):
        with sqlite3.connect(self.environment["DATABASE"]) as database:
            return database.execute(statement).fetchone()

    def price(self):
        return self.query("SELECT price FROM product")[0]

    def spoil(self):
        self.query("UPDATE product SET price = 7")

    def test_one_that_wakes_up_too_late_is_refused(self):
        self.check_one_that_wakes_up_too_late_is_refused("HTTP Error 412")

    def test_a_duplicate_writes_nothing(self):
        self.check_a_duplicate_writes_nothing()
