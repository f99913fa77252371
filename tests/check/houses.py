"""Small houses for test_check.py: a sound one, and what breaks one rule of it at a time."""

SOUND = {
    'server/README.md': '''
```
proto/        floor 0   bytes
server/
  base/       floor 1   knows nothing of idem
  engine/     floor 3   keeps
  ops/        floor 3   log
  net/        floor 5   sockets
  main.c      floor 6   wires
```
''',
    'proto/span.h': '''/* span.h - a type. */
struct span {
  const char *data;
};
''',
    'server/base/count.h': '''/* count.h - counts. */
int count_next(int before);
static inline int count_twice(int before) { return count_next(count_next(before)); }
''',
    'server/base/count.c': '''/* count.c */
#include "server/base/count.h"

int count_next(int before) { return before + 1; }
''',
    'server/engine/engine.h': '''/* engine.h - keeps. */
__attribute__((cold)) const char *engine_look(int at);
''',
    'server/engine/engine.c': '''/* engine.c */
#include "server/engine/engine.h"

#include <string.h>

#include "server/base/count.h"

static const char *const WORDS[] = {"{ no brace", "int no_prototype(void);"};

const char *engine_look(int at) {
  static const char *const none = "";
  const char *found = WORDS[count_twice(at) % 2];
  return strlen(found) > 0 ? found : none;
}
''',
    'server/ops/log.h': '''/* log.h - writes lines. */
void log_line(const char *text);
''',
    'server/ops/log.c': '''/* log.c */
#include "server/ops/log.h"

#include <stdio.h>

void log_line(const char *text) { puts(text); }
''',
    'server/net/loop.h': '''/* loop.h - serves. */
#include "proto/span.h"
int loop_run(struct span arguments);
''',
    'server/net/loop.c': '''/* loop.c */
#include "server/net/loop.h"

#include "server/engine/engine.h"
#include "server/ops/log.h"

static void tell(void);

int loop_run(struct span arguments) {
  log_line(engine_look(arguments.data != 0));
  tell();
  return 0;
}

static void tell(void) { log_line("end"); }
''',
    'server/main.c': '''/* main.c */
#include "server/net/loop.h"

const char *malloc_conf = "";

int main(int argc, char **argv) { return loop_run((struct span){argv[argc - 1]}); }
''',
    'client/idem.h': '''/* idem.h - the public header. */
#ifdef __cplusplus
extern "C" {
#endif
int idem_claim(void);
#ifdef __cplusplus
}
#endif
''' + '\n' * 650,
    'client/claim.c': '''/* claim.c */
#include "client/idem.h"

int idem_claim(void) { return 0; }
''',
    'client/examples/demo.c': '''/* demo.c */
#include "client/idem.h"

int main(void) { return idem_claim(); }
''',
    'tests/unit/test_count.c': '''/* test_count.c */
#include "server/base/count.h"

int main(void) { return count_next(-1); }
''',
    'tests/tool.py': '''"""A tool."""


def work():
    return 1
''',
}

README, SPAN_H = 'server/README.md', 'proto/span.h'
COUNT_H, COUNT_C = 'server/base/count.h', 'server/base/count.c'
ENGINE_C = 'server/engine/engine.c'
LOG_H, LOG_C = 'server/ops/log.h', 'server/ops/log.c'
LOOP_C, MAIN_C = 'server/net/loop.c', 'server/main.c'
CLAIM_C, DEMO_C, IDEM_H = 'client/claim.c', 'client/examples/demo.c', 'client/idem.h'
TEST_C, TOOL_PY = 'tests/unit/test_count.c', 'tests/tool.py'

COUNT_BACK = 'int count_back(int n) { return n - 1; }\n'
STALE = 'has no object under build/release that is newer: run `make check`'
SSL = 'only server/net, client, bench, tests may include <openssl/ssl.h>'
UV = 'only server/net, bench/floors, client, client/examples, tests may include <uv.h>'


def change(path, old, new, text=None):
    """A file of the sound house, or `text`, with one place changed."""
    text = SOUND[path] if text is None else text
    assert old in text, (path, old)
    return {path: text.replace(old, new, 1)}


def add(path, text):
    return {path: SOUND[path] + text}


def include(path, name):
    """One more include, in the third line."""
    return change(path, '.h"\n', f'.h"\n#include {name}\n')


def rename(old, new, *paths):
    return {path: SOUND[path].replace(old, new) for path in paths}


def room(letter, knows, header=True):
    """server/base/LETTER.c and .h: its function calls that of `knows`, whose header it includes or not."""
    include_line = f'#include "server/base/{knows}.h"\n' if header else ''
    return {
        f'server/base/{letter}.h': f'/* {letter}.h - a room. */\nint {letter}_do(int n);\n',
        f'server/base/{letter}.c': f'''/* {letter}.c */
#include "server/base/{letter}.h"
{include_line}
int {letter}_do(int n) {{ return n > 0 ? {knows}_do(n - 1) : 1; }}
''',
    }


def guarded(letter, other):
    """server/base/LETTER.h, which includes another header."""
    name = letter.upper()
    return {f'server/base/{letter}.h': f'''/* {letter}.h - a room. */
#ifndef {name}
#define {name}
#include "server/base/{other}.h"
#endif
'''}


def long_function(lines):
    return 'static int work(int n) {\n' + '  n++;\n' * (lines - 3) + '  return n;\n}\n'


def main_with(function):
    return change(MAIN_C, 'int main', function + 'int main', SOUND[MAIN_C].replace('loop_run(', 'work(0) + loop_run('))


def circle(text, files=2):
    return ('circles', 'server/base', f'a circle of files, {files} tied together: {text}')


# (what it is, changed files by path (None: no file), every finding that the check has to make)
CASES = [
    ('a sound house', {}, []),

    ('includes upward', include(ENGINE_C, '"server/net/loop.h"'),
     [('includes', f'{ENGINE_C}:3', 'server/engine must not include server/net ("server/net/loop.h")')]),
    ('includes sideways', include(ENGINE_C, '"server/ops/log.h"'),
     [('includes', f'{ENGINE_C}:3', 'server/engine must not include server/ops ("server/ops/log.h")')]),
    ('includes with blanks', change(ENGINE_C, '#include <string.h>', '#  include  "server/ops/log.h"'),
     [('includes', f'{ENGINE_C}:4', 'server/engine must not include server/ops ("server/ops/log.h")')]),
    ('includes in a comment', change(ENGINE_C, '#include <string.h>', '/*\n#include "server/ops/log.h"\n*/'), []),
    ('includes from proto into the server', add(SPAN_H, '#include "server/base/count.h"\n'),
     [('includes', f'{SPAN_H}:5', 'proto must not include server/base ("server/base/count.h")')]),
    ('includes from the client into the server', include(CLAIM_C, '"server/base/count.h"'),
     [('includes', f'{CLAIM_C}:3', 'client must not include server/base ("server/base/count.h")')]),
    ('includes a library of net', include(LOG_C, '<uv.h>'), [('includes', f'{LOG_C}:3', UV)]),
    ('includes a library of few files', include(LOOP_C, '<microhttpd.h>'),
     [('includes', f'{LOOP_C}:3', 'only server/net/http, client/examples, tests may include <microhttpd.h>')]),
    ('includes a folder of net', include(LOG_C, '<openssl/ssl.h>'), [('includes', f'{LOG_C}:3', SSL)]),
    ('includes from beside', include(LOG_C, '"log.h"'),
     [('includes', f'{LOG_C}:3', '"log.h" is not named from the root of the repository')]),
    ('a file of no room', {'lib/x.h': '/* x.h - lost. */\n'}, [('includes', 'lib/x.h', 'lies in no known room')]),

    # Without a word in an include.
    ('calls upward', change(COUNT_C, 'before + 1', 'before + (engine_look(0) != 0)'),
     [('symbols', COUNT_C, f'server/base must not need engine_look of {ENGINE_C}')]),
    ('calls sideways', change(ENGINE_C, 'int at) {\n', 'int at) {\n  log_line("looked");\n'),
     [('symbols', ENGINE_C, f'server/engine must not need log_line of {LOG_C}')]),
    ('calls out of the client', change(CLAIM_C, 'return 0', 'return count_next(0)'),
     [('symbols', CLAIM_C, f'client must not need count_next of {COUNT_C}')]),

    ('a circle of includes', guarded('a', 'b') | guarded('b', 'a'), [circle('a -> b ("b.h"), b -> a ("a.h")')]),
    ('a circle of calls', room('a', 'b', False) | room('b', 'a', False), [circle('a -> b (b_do), b -> a (a_do)')]),
    ('a circle of an include and a call',
     room('a', 'b', False) |
     {'server/base/b.h': '/* b.h - a room. */\n#include "server/base/a.h"\nint b_do(int n);\n',
      'server/base/b.c': '/* b.c */\n#include "server/base/b.h"\nint b_do(int n) { return n; }\n'},
     [('unused', 'server/base/a.c', 'a_do is called by no program'), circle('a -> b (b_do), b -> a ("a.h")')]),
    ('a short circle in a long one',
     room('a', 'b') | room('b', 'c') | room('c', 'd') | room('d', 'a') | change(
         'server/base/d.c', 'a_do(n - 1)', 'a_do(n - 1) + c_do(n)', room('d', 'a')['server/base/d.c']),
     [circle('c -> d (d_do "d.h"), d -> c (c_do)', files=4)]),

    ('another floor in the picture', change(README, 'floor 5', 'floor 4'),
     [('picture', README, 'server/net is on floor 5; the picture says 4')]),
    ('a room that the picture does not show', change(README, 'base/', 'bass/'),
     [('picture', README, 'server/base is on floor 1; the picture says None')]),

    ('a function without the prefix', rename('log_line', 'write_line', LOG_H, LOG_C, LOOP_C),
     [('prefix', LOG_C, 'write_line does not begin with log_')]),
    ('a function called like its file', rename('log_line', 'log', LOG_H, LOG_C, LOOP_C), []),
    ('an inline function without the prefix', rename('count_twice', 'twice', COUNT_H, ENGINE_C),
     [('prefix', f'{COUNT_H}:3', 'twice does not begin with count_')]),
    ('data without the prefix', add(COUNT_H, 'extern const int LIMIT;\n') | add(COUNT_C, 'const int LIMIT = 3;\n')
     | change(ENGINE_C, '% 2', '% LIMIT'), [('prefix', COUNT_C, 'LIMIT does not begin with count_')]),
    ('a public name in the server', rename('log_line', 'idem_line', LOG_H, LOG_C, LOOP_C),
     [('prefix', LOG_C, 'idem_line does not begin with log_')]),

    ('declared in the header of another file',
     {LOG_H: '/* log.h - writes. */\n', 'server/ops/lines.h': SOUND[LOG_H]}
     | rename('ops/log.h', 'ops/lines.h', LOOP_C),
     [('headers', 'server/ops/lines.h:2', 'declares log_line, which server/ops/lines.c does not define'),
      ('headers', f'{LOG_C}:6', f'log_line is declared in server/ops/lines.h, not in {LOG_H} alone')]),
    ('declared in two headers', {'server/net/lines.h': SOUND[LOG_H]},
     [('headers', 'server/net/lines.h:2', 'declares log_line, which server/net/lines.c does not define'),
      ('headers', f'{LOG_C}:6', f'log_line is declared in server/net/lines.h, {LOG_H}, not in {LOG_H} alone')]),
    ('declared in no header', {LOG_H: '/* log.h - writes. */\n'},
     [('headers', f'{LOG_C}:6', f'log_line is declared in no header, not in {LOG_H} alone')]),
    ('a prototype in a .c', change(LOOP_C, '#include "server/ops/log.h"', 'void log_line(const char *text);'),
     [('headers', f'{LOOP_C}:5', 'a prototype of log_line in a .c')]),
    ('a prototype in a function', change(LOOP_C, 'arguments) {\n', 'arguments) {\n  extern int count_next(int);\n'),
     [('headers', f'{LOOP_C}:10', 'declares what another file has')]),
    ('a .c that does not include its header', change(LOG_C, '#include "server/ops/log.h"\n', ''),
     [('headers', LOG_C, f'does not include {LOG_H}')]),
    ('a public function in another header',
     {IDEM_H: '/* idem.h */\n' * 700, 'client/claim.h': '/* claim.h - a claim. */\nint idem_claim(void);\n'}
     | include(CLAIM_C, '"client/claim.h"'),
     [('headers', f'{CLAIM_C}:5', f'idem_claim is declared in client/claim.h, not in {IDEM_H} alone')]),
    ('the same name in programs that never meet',
     {'client/count.h': SOUND[COUNT_H], 'client/count.c': SOUND[COUNT_C].replace('server/base', 'client')}
     | change(CLAIM_C, 'return 0', 'return count_twice(0)', include(CLAIM_C, '"client/count.h"')[CLAIM_C]), []),

    ('a header that says nothing', change(LOG_H, '/* log.h - writes lines. */\n', ''),
     [('alone', LOG_H, 'does not begin by saying what it is')]),
    ('a header that needs another', {'server/ops/odd.h': '/* odd.h - a type. */\nstruct odd {\n  size_t len;\n};\n'},
     [('alone', 'server/ops/odd.h',
       "does not compile alone: server/ops/odd.h:3:3: error: unknown type name 'size_t'")]),

    ('a long function', main_with(long_function(46)), [('lengths', f'{MAIN_C}:6', 'work has 46 lines, over 45')]),
    ('a function that just fits', main_with(long_function(45)), []),
    ('a long file', add(COUNT_H, '\n' * 648), [('lengths', COUNT_H, '651 lines, over 650')]),
    ('a long function of a test', {TEST_C: long_function(66) + 'int main(void) { return work(0); }\n'},
     [('lengths', f'{TEST_C}:1', 'work has 66 lines, over 65')]),
    ('a long test', {TEST_C: '\n' * 1351}, [('lengths', TEST_C, '1351 lines, over 1350')]),
    ('a long function of a script', {TOOL_PY: 'def work():\n' + '    work()\n' * 45},
     [('lengths', f'{TOOL_PY}:1', 'work has 46 lines, over 45')]),
    ('long scripts', {TOOL_PY: '\n' * 951, 'bench/tool.py': '\n' * 451},
     [('lengths', 'bench/tool.py', '451 lines, over 450'), ('lengths', TOOL_PY, '951 lines, over 950')]),
    ('a long file that is short now', {IDEM_H: SOUND[IDEM_H].strip()},
     [('lengths', IDEM_H, 'is excepted for nothing')]),

    ('state of a file', change(COUNT_C, 'int count_next(int before) { return before',
                               'static int calls;\nint count_next(int n) { return calls++'),
     [('state', COUNT_C, 'calls is mutable state')]),
    ('state of a function', change(COUNT_C, 'return before', 'static int calls = 7; return calls++'),
     [('state', COUNT_C, 'calls is mutable state')]),
    ('state of a thread', change(COUNT_C, 'return before', 'static _Thread_local int calls; return calls++'),
     [('state', COUNT_C, 'calls is mutable state')]),
    ('constants that can change', change(ENGINE_C, '  const char *found', '  WORDS[at] = 0;\n  const char *found',
                                         SOUND[ENGINE_C].replace('*const WORDS', '*WORDS')),
     [('state', ENGINE_C, 'WORDS is mutable state')]),
    ('state of the client', change(CLAIM_C, 'return 0', 'static int last; return last++'),
     [('state', CLAIM_C, 'last is mutable state')]),
    ('an exception that nothing needs', change(MAIN_C, 'const char *malloc_conf = "";\n', ''),
     [(rule, MAIN_C, 'malloc_conf is excepted for nothing') for rule in ('prefix', 'state')]),

    ('called by a test only', add(COUNT_H, 'int count_back(int n);\n') | add(COUNT_C, COUNT_BACK)
     | change(TEST_C, 'count_next', 'count_back'), [('unused', COUNT_C, 'count_back is called by no program')]),
    ('called by its own file only', add(COUNT_H, 'int count_back(int n);\n')
     | change(COUNT_C, 'before + 1', 'count_back(before) + 2', SOUND[COUNT_C] + COUNT_BACK),
     [('unused', COUNT_C, 'count_back is needed by no other file')]),
    ('called by its own file and a test', add(COUNT_H, 'int count_back(int n);\n')
     | change(COUNT_C, 'before + 1', 'count_back(before) + 2', SOUND[COUNT_C] + COUNT_BACK)
     | change(TEST_C, 'count_next', 'count_back'), []),
    ('an inline function that nothing calls', change(ENGINE_C, 'count_twice', 'count_next'),
     [('unused', f'{COUNT_H}:3', 'count_twice is called by no program')]),
    ('a public function that no example calls', {DEMO_C: '/* demo.c */\nint main(void) { return 0; }\n'},
     [('unused', CLAIM_C, 'idem_claim is public and no test or example calls it')]),
]
