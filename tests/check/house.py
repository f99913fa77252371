"""The tables of the check: rooms and what each may see, limits, exceptions. The floors are those of the picture in
server/README.md, which a rule compares.
"""

# Floors of the server. A room sees itself and every room on a lower floor; rooms on one floor do not see each other.
FLOORS = {
    'proto': 0,
    'server/base': 1,
    'server/rules': 2,
    'server/engine': 3,
    'server/journal': 3,
    'server/ops': 3,
    'server/commands': 4,
    'server/net': 5,
    'server/module': 5,
    'server': 6,
}

# Rooms beside the server, and what of the project each may see apart from itself.
OUTSIDE = {
    'client': ['proto'],
    'client/once': ['client'],
    'client/examples': ['client'],
    'bench': ['proto'],
    'bench/engine': ['proto', 'server/base', 'server/rules', 'server/engine'],
    'bench/floors': [],
    'tests': ['proto', 'server', 'client', 'bench'],
}

# Headers of the system that few rooms may know.
SYSTEM = {
    'uv.h': ['server/net', 'bench/floors', 'client', 'client/examples', 'tests'],
    'hiredis/hiredis.h': ['client', 'tests'],
    'microhttpd.h': ['server/net/http', 'client/examples', 'tests'],
    'openssl/crypto.h': ['server/ops', 'server/net', 'client', 'bench', 'tests'],  # digests
    'openssl/evp.h': ['server/ops', 'server/net', 'client', 'bench', 'tests'],
    'openssl/': ['server/net', 'client', 'bench', 'tests'],
}

# Where objects are checked: every .c of these rooms. The tests link what they like.
OBJECT_ROOMS = [room for room in [*FLOORS, *OUTSIDE] if room != 'tests']

# Functions and files in lines. The first row whose folder and ending fit counts. Tests are tables of cases.
LIMITS = [
    # folder, ending, function, file
    ('tests/', '.py', 45, 950),
    ('', '.py', 45, 450),
    ('tests/', '.[ch]', 65, 1350),
    ('', '.[ch]', 45, 650),
]

# ---- exceptions, each with its reason; one that is not needed is a finding too ----

# File -> lines.
LONG_FILES = {
    'client/idem.h': 850,  # public and complete: a program includes this one file
}

# (file, symbol): mutable state.
STATE = {
    ('server/main.c', 'malloc_conf'): 'jemalloc looks for this name',
    ('server/module/api.c', 'api'): 'written once, at load: what the host hands out',
    ('server/module/host.c', 'host'): 'the host calls commands and events without a pointer of ours',
}

# (file, symbol): a name without the prefix of its file. Those of the public header and main are allowed everywhere.
NAMES = {
    ('server/main.c', 'malloc_conf'): 'jemalloc looks for this name',
    ('server/module/module.c', 'RedisModule_OnLoad'): 'the host looks for this name',
    ('server/module/module.c', 'RedisModule_OnUnload'): 'the host looks for this name',
    ('bench/floors/fixed_random.c', 'getrandom'): 'preloaded in the place of the C library\'s',
}

# The one header whose functions are defined in many files, and the prefix of their names.
PUBLIC_HEADER, PUBLIC_PREFIX = 'client/idem.h', 'idem_'
# Who shows that a public function is needed.
PUBLIC_USERS = ('client/once/', 'client/examples/', 'tests/client/')

# (file, symbol): called by tests only, and why it stays.
UNUSED = {
    ('server/journal/journal.c', 'journal_help'): 'a step of the helper, for tests that have no thread',
    ('server/engine/tick.c', 'tick_next_due'): 'the exact value that tests hold tick_next_due_hint against',
    ('server/net/server.c', 'server_port'): 'with port 0, the port of a server in the process of a test',
}
