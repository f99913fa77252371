"""Users: what each may do, and whose sessions end when users change; with one loop and with four."""

import os
import signal
import subprocess
import threading

from harness import PROGRAM, Client, Closed, ServerCase, eventually, measured

SHA_OF_NEW = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"  # of "new"
ALL = ("allkeys", "allchannels", "+@all")
LOOPS = (1, 4)


class UsersCase(ServerCase):
    def each(self, *options, **more):
        """A server with one loop, then one with four; each with an operator."""
        for loops in LOOPS:
            server = self.start("--threads", loops, *options, **more)
            yield server, self.connect(server)

    def set(self, admin, *rule):
        self.assertEqual(admin.call("ACL", "SETUSER", *rule), "OK")

    def sign_in(self, server, name, password):
        client = self.connect(server)
        self.assertEqual(client.call("AUTH", name, password), "OK")
        return client

    def path(self, server, name):
        return os.path.join(server.directory, name)

    def write(self, path, text, mode=0o600):
        with open(path, "w", encoding="latin-1") as file:
            file.write(text)
        os.chmod(path, mode)

    def read(self, path):
        with open(path, encoding="latin-1") as file:
            return file.read()


class Sessions(UsersCase):
    def test_a_removed_password_ends_its_sessions_and_no_others(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", ">one", *ALL)
            first = [self.sign_in(server, "u", "one") for _ in range(6)]
            self.set(admin, "u", ">two")
            second = [self.sign_in(server, "u", "two") for _ in range(6)]
            self.assertEqual({client.call("PING") for client in first + second}, {"PONG"})
            self.set(admin, "u", "<one")
            for client in first:
                self.assertTrue(client.ended())
            self.assertEqual({client.call("PING") for client in second}, {"PONG"})
            self.assertEqual(admin.call("PING"), "PONG")

    def test_off_and_nopass_and_back(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", *ALL)
            client = self.sign_in(server, "u", "anything")
            self.set(admin, "u", "off")
            self.assertTrue(client.ended())
            self.assert_error(self.connect(server).call("AUTH", "u", "anything"), "WRONGPASS")
            self.set(admin, "u", "on", ">new")
            open_one = self.sign_in(server, "u", "new")
            self.set(admin, "u", "nopass")
            self.assertEqual(open_one.call("PING"), "PONG")
            self.set(admin, "u", "#" + SHA_OF_NEW)
            self.assertEqual(open_one.call("PING"), "PONG")
            self.set(admin, "u", "resetpass")
            self.assertTrue(open_one.ended())

    def test_a_killed_session_outlives_its_user(self):
        """It is closed at the end of the turn only, and CLIENT LIST shows it until then."""
        for server, admin in self.each():
            for _ in range(4):
                self.set(admin, "u", "on", "nopass", *ALL)
                killed = [self.sign_in(server, "u", "x") for _ in range(8)]
                steps = (("CLIENT", "KILL", "USER", "u"), ("ACL", "DELUSER", "u"), ("CLIENT", "LIST"),
                         ("CLIENT", "KILL", "USER", "default"))
                admin.send("MULTI")
                for step in steps:
                    admin.send(*step)
                admin.send("EXEC")
                replies = [admin.read() for _ in range(len(steps) + 2)][-1]
                self.assertEqual(replies[:2], [8, 1])
                self.assertEqual(replies[2].count(b" user=default "), 9, replies[2])
                for client in killed:
                    self.assertTrue(client.ended())

    def test_a_deleted_user_leaves_its_claims(self):
        """Its waiter is closed and never granted; what it holds stays held; its bound claim ends."""
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", *ALL)
            owner, waiter = (self.sign_in(server, "u", "x") for _ in range(2))
            held = self.claim(owner, "held")[0]
            self.claim(owner, "bound", "BIND")
            other = self.connect(server)
            self.claim(other, "others")
            waiter.send("CLAIM", "others", "WAIT", 60_000)
            server.await_blocked(1, admin)
            self.assertEqual(admin.call("ACL", "DELUSER", "u"), 1)
            self.assertTrue(owner.ended())
            self.assertTrue(waiter.ended())
            server.await_blocked(0, admin)
            self.assertEqual(admin.call("CLAIM", "held")[0], b"BUSY")
            self.assertEqual(admin.call("STORE", "held", held, "done"), 0)
            eventually(lambda: admin.call("FETCH", "bound")[0] == b"LAPSED", "the end of BIND")
            self.assertEqual(admin.call("RELEASE", "others", token_of(admin, "others")), 1)
            self.assertIsNone(admin.call("FETCH", "others"))
            self.assert_error(self.connect(server).call("AUTH", "u", "x"), "WRONGPASS")

    def test_who_deletes_itself_is_told_first(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", *ALL)
            client = self.sign_in(server, "u", "x")
            self.assertEqual(client.call("ACL", "DELUSER", "u"), 1)
            self.assertTrue(client.ended())
            # What stands after it in a transaction is refused, not run as another user.
            self.set(admin, "u", "on", "nopass", *ALL)
            client = self.sign_in(server, "u", "x")
            for command in ("MULTI", "ACL DELUSER u", "SET k v"):
                client.call(*command.split())
            reply = client.call("EXEC")
            self.assertEqual(reply[0], 1)
            self.assert_error(reply[1], "NOPERM")
            self.assertTrue(client.ended())
            self.assertEqual(admin.call("EXISTS", "k"), 0)

    def test_lost_channels_end_subscriptions(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", "+@all", "&a", "&b", "&p*")
            one, two, pattern = (self.sign_in(server, "u", "x") for _ in range(3))
            one.call("SUBSCRIBE", "a")
            two.call("SUBSCRIBE", "b")
            pattern.call("PSUBSCRIBE", "p*")
            self.set(admin, "u", "resetchannels", "&a", "&p*")
            self.assertTrue(two.ended())
            self.set(admin, "u", "resetchannels", "&a", "&p1")
            self.assertTrue(pattern.ended())
            self.assertEqual(admin.call("PUBLISH", "a", "x"), 1)
            self.assertEqual(one.read(), [b"message", b"a", b"x"])

    def test_lost_keys_end_waiters_and_watchers(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", *ALL)
            self.claim(admin, "a")
            waiter, watcher, idle = (self.sign_in(server, "u", "x") for _ in range(3))
            waiter.send("CLAIM", "a", "WAIT", 60_000)
            server.await_blocked(1, admin)
            self.assertEqual(watcher.call("MONITOR"), "OK")
            self.set(admin, "u", "+get")
            self.assertEqual(idle.call("PING"), "PONG")
            server.await_blocked(1, admin)
            self.set(admin, "u", "resetkeys", "~a*")
            self.assertTrue(waiter.ended())
            self.assertTrue(eventually(lambda: closed(watcher), "the watcher's end"))
            self.assert_error(idle.call("GET", "b"), "NOPERM")
            self.assertIsNone(idle.call("GET", "ab"))

    def test_reset_and_other_users(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", ">p", "~u:*", "+@all")
            client = self.sign_in(server, "u", "p")
            self.assert_error(client.call("GET", "x"), "NOPERM")
            self.assertEqual(client.call("RESET"), "RESET")
            self.assertIsNone(client.call("GET", "x"))
            self.assertEqual(client.call("ACL", "WHOAMI"), b"default")
            self.assertEqual(client.call("AUTH", "u", "p"), "OK")
            self.assert_error(client.call("GET", "x"), "NOPERM")
            self.set(admin, "default", "off")
            self.assertEqual(client.call("RESET"), "RESET")
            self.assert_error(client.call("PING"), "NOAUTH")
            self.assertTrue(admin.ended())
            self.assertEqual(client.call("HELLO", 3, "AUTH", "u", "p")[b"proto"], 3)
            self.assertEqual(client.call("ACL", "WHOAMI"), b"u")

    def test_users_of_transactions(self):
        """A change between MULTI and EXEC counts; so does AUTH within it."""
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", "~u:*", "~v:*", "+@all")
            client = self.sign_in(server, "u", "x")
            for command in ("MULTI", "SET u:1 x", "SET v:1 x", "EXISTS u:1 v:1"):
                client.call(*command.split())
            self.set(admin, "u", "resetkeys", "~u:*")
            stored, *refused = client.call("EXEC")
            self.assertEqual(stored, "OK")
            for reply in refused:
                self.assert_error(reply, "NOPERM")
                self.assertIn("touch the specified keys", str(reply))
            self.set(admin, "w", "on", "nopass", "~w:*", "+@all")
            for command in ("MULTI", "AUTH w x", "SET u:1 y"):
                client.call(*command.split())
            stored, refused = client.call("EXEC")
            self.assertEqual(stored, "OK")
            self.assert_error(refused, "NOPERM")
            self.assertEqual(admin.call("GET", "u:1"), b"x")


def token_of(admin, key):
    fields = admin.call("INSPECT", key)
    return dict(zip(fields[::2], fields[1::2]))[b"token"]


def closed(client):
    """Reads what comes until the end."""
    try:
        while client.readable():
            client.read()
        return False
    except (Closed, ConnectionError):
        return True


class Rotation(UsersCase):
    def rotate(self, server, admin, steps):
        """Clients sign in again and again with the passwords of the moment while `steps` change them;
        every password is right when it is used, so no client may ever be refused or cut off."""
        stop, faults, counts = threading.Event(), [], [0] * 4
        passwords = {"now": "p0"}

        def work(number):
            while not stop.is_set():
                with Client(server) as client:
                    try:
                        if client.call("AUTH", "u", passwords["now"]) != "OK":
                            faults.append("AUTH")
                        if client.call("SET", "u:k", "v") != "OK":
                            faults.append("SET")
                        counts[number] += 1
                    except (Closed, ConnectionError) as error:
                        faults.append(repr(error))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(counts))]
        for thread in threads:
            thread.start()
        try:
            for step in range(1, steps + 1):
                self.set(admin, "u", f">p{step}")
                passwords["now"] = f"p{step}"
                # Whoever took the former password has used it after two rounds of its own.
                before = list(counts)
                eventually(lambda old=before: all(now >= was + 2 for now, was in zip(counts, old)),
                           "two rounds of each")
                self.set(admin, "u", f"<p{step - 1}")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(faults, [])
        return sum(counts)

    def test_under_load(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", ">p0", "~u:*", "+@all")
            count = self.rotate(server, admin, 10)
            measured(f"{count} sessions through 10 passwords")

    def test_the_default_users_file(self):
        """Two lines for the time of a change; read again by CONFIG SET and by SIGHUP."""
        for loops in LOOPS:
            with self.subTest(loops=loops):
                path = os.path.join(self.folder(), "password")
                self.write(path, "old\n")
                server = self.start("--threads", loops, "--requirepass-file", path)
                old, admin = (self.sign_in(server, "default", "old") for _ in range(2))
                self.write(path, "new\nold\n")
                self.assertEqual(admin.call("CONFIG", "SET", "requirepass-file", path), "OK")
                new = self.sign_in(server, "default", "new")
                self.assertEqual(old.call("PING"), "PONG")
                self.write(path, "new\n")
                server.signal(signal.SIGHUP)
                self.assertTrue(old.ended())
                self.assertTrue(admin.ended())
                self.assertEqual(new.call("PING"), "PONG")
                self.assert_error(self.connect(server).call("AUTH", "old"), "WRONGPASS")
                self.write(path, "a\nb\nc\n")
                reply = new.call("CONFIG", "SET", "requirepass-file", path)
                self.assertIn("more than 2 lines", str(reply))
                self.assertEqual(new.call("CONFIG", "GET", "requirepass-file")[1], path.encode())
                self.assertEqual(self.sign_in(server, "default", "new").call("PING"), "PONG")

    def test_the_default_users_file_beside_other_passwords(self):
        """SIGHUP, as of logrotate, does not bring back the file's password."""
        path = os.path.join(self.folder(), "password")
        self.write(path, "of-the-file\n")
        line = "user default on >own ~* &* +@all\n"
        for config, change in ((line, False), ("", True)):
            server = self.start("--requirepass-file", path, config=config)
            client = self.sign_in(server, "default", "of-the-file" if change else "own")
            if change:
                self.set(client, "default", ">own")
                client = self.sign_in(server, "default", "own")
                self.set(client, "default", "<of-the-file")
            server.signal(signal.SIGHUP)
            eventually(lambda server=server: "SIGHUP: files are read again" in server.log())
            self.assertIn("requirepass-file is not used", server.log())
            self.assertEqual(client.call("PING"), "PONG")
            self.assertEqual(self.sign_in(server, "default", "own").call("PING"), "PONG")
            self.assert_error(self.connect(server).call("AUTH", "of-the-file"), "WRONGPASS")

    def test_config_set_of_the_same_password(self):
        """It closes the server again that ACL SETUSER had opened; an empty one that is none does not open it."""
        path = os.path.join(self.folder(), "password")
        self.write(path, "right\n")
        for setting in (("requirepass", "right"), ("requirepass-file", path)):
            server = self.start(config=" ".join(setting) + "\n")
            admin = self.sign_in(server, "default", "right")
            self.set(admin, "default", "nopass")
            self.assertEqual(self.connect(server).call("PING"), "PONG")
            self.assertEqual(admin.call("CONFIG", "SET", *setting), "OK")
            self.assert_error(self.connect(server).call("PING"), "NOAUTH")
            self.assertEqual(self.sign_in(server, "default", "right").call("PING"), "PONG")
        server = self.start(config="user default on >right ~* &* +@all\n")
        admin = self.sign_in(server, "default", "right")
        for name in ("requirepass", "requirepass-file"):
            admin.call("CONFIG", "SET", name, "")
            self.assert_error(self.connect(server).call("PING"), "NOAUTH")

    def folder(self):
        server = self.start()  # for its directory, which is removed with it
        return server.directory


class Files(UsersCase):
    def refused(self, *arguments):
        """What a server says that does not start."""
        done = subprocess.run([PROGRAM, *arguments, "--port", "0", "--bind", "127.0.0.1"], capture_output=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done)
        return done.stderr.decode()

    def test_a_pipe_into_which_nobody_writes(self):
        path = os.path.join(self.start().directory, "users.acl")
        self.write(path, "user u on >p ~u:* +@all\n")
        server = self.start("--aclfile", path)
        admin = self.connect(server)
        os.remove(path)
        os.mkfifo(path, 0o600)
        self.assertIn("nothing comes out of the pipe", str(admin.call("ACL", "LOAD")))
        self.assertEqual(admin.call("ACL", "USERS"), [b"default", b"u"])
        self.assertIn("nothing comes out of the pipe", str(admin.call("CONFIG", "SET", "requirepass-file", path)))

    def test_load_and_save(self):
        folder = self.start().directory
        for loops in LOOPS:
            with self.subTest(loops=loops):
                path = os.path.join(folder, f"users-{loops}.acl")
                self.write(path, "# tenants\n\nuser u on >p ~u:* +@all\nuser gone on nopass +@all\n")
                server = self.start("--threads", loops, "--aclfile", path)
                admin, client, gone = (self.connect(server), self.sign_in(server, "u", "p"),
                                       self.sign_in(server, "gone", "x"))
                self.assertEqual(admin.call("ACL", "USERS"), [b"default", b"gone", b"u"])
                self.write(path, "user u on >p ~v:* +@all\nuser new on >n +@all\nuser x nonsense\n")
                reply = admin.call("ACL", "LOAD")
                self.assert_error(reply, "ERR")
                self.assertIn(f"{path}:3: bad rule 'nonsense'", str(reply))
                self.assertIn("no change to the previously active", str(reply))
                self.assertEqual(admin.call("ACL", "USERS"), [b"default", b"gone", b"u"])
                self.assertEqual(client.call("SET", "u:1", "x"), "OK")
                self.write(path, "user u on >p ~v:* +@all\nuser new on >n +@all\n")
                self.assertEqual(admin.call("ACL", "LOAD"), "OK")
                self.assertTrue(gone.ended())
                self.assert_error(client.call("SET", "u:1", "x"), "NOPERM")
                self.assertEqual(client.call("SET", "v:1", "x"), "OK")
                self.set(admin, "u", ">q", "quota-claims", "7")
                self.assertEqual(admin.call("ACL", "SAVE"), "OK")
                before = admin.call("ACL", "LIST")
                self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
                self.assertNotIn(">", self.read(path))
                self.assertEqual(self.read(path).encode("latin-1"), b"".join(line + b"\n" for line in before))
                again = self.connect(self.start("--aclfile", path))
                self.assertEqual(again.call("ACL", "LIST"), before)

    def test_a_broken_file_refuses_the_start(self):
        folder = self.start().directory
        path = os.path.join(folder, "users.acl")
        for text, line, why in (
                ("user a on\nuser a on\n", 2, "Duplicate user 'a' found"),
                ("user a on +nosuch\n", 1, "bad rule '+nosuch': Unknown command or category"),
                ("\nuser a on (~x)\n", 2, "Selectors are not supported"),
                ("user a on %W~x\n", 1, "Keys to read or write only are not supported"),
                ("usr a on\n", 1, "a line is: user NAME"),
                ("user a on\nuser b #12\n", 2, "exactly 64 characters"),
                ("user a on <hidden\n", 1, "bad rule '<...'")):
            self.write(path, text)
            said = self.refused("--aclfile", path)
            self.assertIn(f"{path}:{line}: ", said)
            self.assertIn(why, said)
            self.assertNotIn("hidden", said)
        self.write(path, "user a on >p\n", 0o644)
        self.assertIn(f"chmod 600 {path}", self.refused("--aclfile", path))
        self.assertIn("No such file", self.refused("--aclfile", path + ".no"))
        config = os.path.join(folder, "idem.conf")
        self.write(config, f"aclfile {path}\nuser a on\n")
        self.assertIn("`user` lines and names an aclfile", self.refused(config))
        self.write(config, "port 0\nuser a on +nosuch\n")
        self.assertIn(f"{config}:2: bad rule '+nosuch'", self.refused(config))

    def test_an_open_server_needs_a_default_user_with_a_password(self):
        folder = self.start().directory
        config = os.path.join(folder, "idem.conf")
        self.write(config, "bind 0.0.0.0\ninsecure plain\nuser default on nopass\nuser a on >p +@all\n")
        done = subprocess.run([PROGRAM, config, "--port", "0"], capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no password", done.stderr.decode())

    def test_rewrite_does_not_show_the_default_user(self):
        """Its password has a file of its own; a line of it needs one that nobody else can read."""
        path = os.path.join(self.start().directory, "password")
        self.write(path, "of-the-file\n")
        server = self.start(config=f"requirepass-file {path}\n", config_mode=0o644)
        admin = self.sign_in(server, "default", "of-the-file")
        self.assertEqual(admin.call("CONFIG", "REWRITE"), "OK")
        before = self.read(server.config_path)
        self.set(admin, "default", ">new")
        self.assertIn("needs a file that no other user can read", str(admin.call("CONFIG", "REWRITE")))
        self.assertEqual(self.read(server.config_path), before)

    def test_rewrite_of_the_configuration_file(self):
        for server, admin in self.each(config="# mine\nuser u on >p ~u:* +@all\n"):
            self.set(admin, "v", "on", ">v", "~v:*", "+@claim", "quota-waiters", 3)
            self.set(admin, "u", "-flushall")
            self.assertEqual(admin.call("CONFIG", "SET", "requirepass", "new"), "OK")
            self.assertEqual(admin.call("CONFIG", "REWRITE"), "OK")
            text, before = self.read(server.config_path), admin.call("ACL", "LIST")
            self.assertTrue(text.startswith("# mine\nuser u on #"))
            self.assertIn(f"user default on #{SHA_OF_NEW} ~* &* +@all\n", text)
            self.assertNotIn("requirepass", text)
            again = self.start(config=text)
            client = self.sign_in(again, "default", "new")
            self.assertEqual(client.call("ACL", "LIST"), before)
            self.assertEqual(self.sign_in(again, "u", "p").call("SET", "u:1", "x"), "OK")

    def test_no_password_is_kept_as_text(self):
        """Neither in the memory of the server, nor in its log, its slow log, its file."""
        secret, rule = "Vr7-nowhere-to-be-found", "Kd2-nowhere-either"
        for server, admin in self.each("--slowlog-log-slower-than", 0,
                                       config=f"requirepass {secret}\nuser u on >{rule} +@all\n"):
            admin = self.sign_in(server, "default", secret)
            self.set(admin, "v", "on", ">" + rule)
            admin.call("SLOWLOG", "GET", 100)
            self.assertEqual(admin.call("CONFIG", "REWRITE"), "OK")
            self.assertNotIn(rule, server.log())
            self.assertNotIn(rule, str(admin.call("SLOWLOG", "GET", 100)))
            self.assertNotIn(rule, str(admin.call("ACL", "LIST")))


class Channels(UsersCase):
    """acl-pubsub-default: what a user has of whom nothing else is said."""

    def channels(self, client, name):
        rules = client.call("ACL", "GETUSER", name)
        return rules[rules.index(b"channels") + 1]

    def test_of_new_users(self):
        config = "user default on nopass ~* &* +@all\nuser lined on nopass ~* +@all\nuser none on nopass resetchannels\n"
        for words, channels in (((), b""), (("--acl-pubsub-default", "resetchannels"), b""),
                                (("--acl-pubsub-default", "allchannels"), b"&*")):
            client = self.connect(self.start(*words, config=config))
            client.call("ACL", "SETUSER", "fresh")
            client.call("ACL", "SETUSER", "again", "resetchannels", "&some", "reset")
            client.call("ACL", "SETUSER", "told", "resetchannels", "&some")
            self.assertEqual([self.channels(client, name) for name in ("lined", "fresh", "again")], [channels] * 3)
            self.assertEqual([self.channels(client, name) for name in ("none", "told")], [b"", b"&some"])
            self.assertEqual(client.call("CONFIG", "GET", "acl-pubsub-default")[1], (words or (0, "resetchannels"))[1].encode())

    def test_of_a_file(self):
        path = os.path.join(self.start().directory, "users")
        with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("user default on nopass ~* +@all\nuser filed on nopass\n")
        for word, channels in (("resetchannels", b""), ("allchannels", b"&*")):
            client = self.connect(self.start("--aclfile", path, "--acl-pubsub-default", word))
            for _ in range(2):
                self.assertEqual([self.channels(client, name) for name in ("default", "filed")], [channels] * 2)
                self.assertEqual(client.call("ACL", "LOAD"), "OK")


class Oracle(UsersCase):
    def test_an_unknown_user_looks_like_a_wrong_password(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", ">p", *ALL)
            self.set(admin, "off", ">p", *ALL)
            clients = []
            for pair in (("u", "x"), ("nobody", "x"), ("off", "p")):
                clients.append(self.connect(server))
                clients[-1].send("AUTH", *pair)
            texts = {str(client.read()) for client in clients}  # each takes a second
            self.assertEqual(len(texts), 1, texts)
            self.assertTrue(texts.pop().startswith("WRONGPASS"))
            self.assertEqual(server.info("stats", admin)["acl_access_denied_auth"], "3")

    def test_a_restricted_user_sees_no_users(self):
        for server, admin in self.each():
            self.set(admin, "u", "on", "nopass", "~u:*", "+@all")
            client = self.sign_in(server, "u", "x")
            for command in ("ACL LIST", "ACL USERS", "ACL GETUSER default", "ACL LOG", "ACL SETUSER u allkeys",
                            "ACL DRYRUN default PING", "ACL DELUSER v", "CONFIG GET *", "MONITOR", "DBSIZE",
                            "FLUSHALL", "RANDOMKEY", "SHUTDOWN NOSAVE", "ACL SAVE", "ACL LOAD"):
                reply = client.call(*command.split())
                self.assert_error(reply, "NOPERM")
                self.assertNotIn("default", str(reply))
            self.assertEqual(client.call("ACL", "WHOAMI"), b"u")
            self.assertIsInstance(client.call("ACL", "CAT"), list)
            self.assertEqual(int(server.info("stats", admin)["acl_access_denied_key"]), 15)
