#!/usr/bin/env python3
"""Each rule of the check on a small house that breaks it: exactly the findings that are told here, no more and no fewer.

Every case is the sound house with some of its files replaced (None: removed), compiled and checked in a folder of its own.
"""
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.dont_write_bytecode = True

import run
from tree import Tree

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
    'proto/span.h': '/* span.h - a type. */\nstruct span {\n  const char *data;\n};\n',
    'server/base/count.h': '''/* count.h - counts. */
int count_next(int before);
static inline int count_twice(int before) { return count_next(count_next(before)); }
''',
    'server/base/count.c': '''/* count.c */
#include "server/base/count.h"

int count_next(int before) { return before + 1; }
''',
    'server/engine/engine.h': '/* engine.h - keeps. */\n__attribute__((cold)) const char *engine_look(int at);\n',
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
    'server/ops/log.h': '/* log.h - writes lines. */\nvoid log_line(const char *text);\n',
    'server/ops/log.c': '''/* log.c */
#include "server/ops/log.h"

#include <stdio.h>

void log_line(const char *text) { puts(text); }
''',
    'server/net/loop.h': '/* loop.h - serves. */\n#include "proto/span.h"\nint loop_run(struct span arguments);\n',
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
    'client/claim.c': '/* claim.c */\n#include "client/idem.h"\n\nint idem_claim(void) { return 0; }\n',
    'client/examples/demo.c': '/* demo.c */\n#include "client/idem.h"\n\nint main(void) { return idem_claim(); }\n',
    'tests/unit/test_count.c': '/* test_count.c */\n#include "server/base/count.h"\n\nint main(void) { return count_next(-1); }\n',
    'tests/tool.py': '"""A tool."""\n\n\ndef work():\n    return 1\n',
}

COUNT_H, COUNT_C = SOUND['server/base/count.h'], SOUND['server/base/count.c']
ENGINE_C, LOOP_C, MAIN_C = SOUND['server/engine/engine.c'], SOUND['server/net/loop.c'], SOUND['server/main.c']


def of(letter, knows, header=True):
    """server/base/LETTER: its function calls that of `knows`, which its .c includes or not."""
    include = f'#include "server/base/{knows}.h"\n' if header else ''
    return {f'server/base/{letter}.h': f'/* {letter}.h - a room. */\nint {letter}_do(int n);\n',
            f'server/base/{letter}.c': f'/* {letter}.c */\n#include "server/base/{letter}.h"\n\n{include}\n'
                                       f'int {letter}_do(int n) {{ return n > 0 ? {knows}_do(n - 1) : 1; }}\n'}


def after(text, line, added):
    assert line in text, line
    return text.replace(line, line + added, 1)


def long_function(lines):
    return 'static int work(int n) {\n' + '  n++;\n' * (lines - 3) + '  return n;\n}\n'


CASES = [
    ('nothing', {}, []),

    # built
    ('an object that is not there', {'-': ['server/ops/log.c']},
     [('built', 'server/ops/log.c', 'has no object under build/release that is newer: run `make check`')]),
    ('an object that is older', {'+': ['server/ops/log.c']},
     [('built', 'server/ops/log.c', 'has no object under build/release that is newer: run `make check`')]),

    # includes
    ('upward', {'server/engine/engine.c': after(ENGINE_C, '.h"\n', '#include "server/net/loop.h"\n')},
     [('includes', 'server/engine/engine.c:3', 'server/engine must not include server/net ("server/net/loop.h")')]),
    ('sideways', {'server/engine/engine.c': after(ENGINE_C, '.h"\n', '#  include "server/ops/log.h"\n')},
     [('includes', 'server/engine/engine.c:3', 'server/engine must not include server/ops ("server/ops/log.h")')]),
    ('from proto into the server', {'proto/span.h': SOUND['proto/span.h'] + '#include "server/base/count.h"\n'},
     [('includes', 'proto/span.h:5', 'proto must not include server/base ("server/base/count.h")')]),
    ('from the client into the server', {'client/claim.c': after(SOUND['client/claim.c'], '.h"\n', '#include "server/base/count.h"\n')},
     [('includes', 'client/claim.c:3', 'client must not include server/base ("server/base/count.h")')]),
    ('a library that only net may know', {'server/ops/log.c': after(SOUND['server/ops/log.c'], '.h>\n', '#include <uv.h>\n')},
     [('includes', 'server/ops/log.c:5', 'only server/net, bench/floors, client, client/examples, tests may include <uv.h>')]),
    ('not from the root', {'server/ops/log.c': after(SOUND['server/ops/log.c'], '.h"\n', '#include "log.h"\n')},
     [('includes', 'server/ops/log.c:3', '"log.h" is not named from the root of the repository')]),
    ('no known room', {'lib/x.h': '/* x.h - lost. */\n'}, [('includes', 'lib/x.h', 'lies in no known room')]),

    # symbols, without a word in an include
    ('a call upward', {'server/base/count.c': COUNT_C.replace('before + 1', 'before + (engine_look(0) != 0)')},
     [('symbols', 'server/base/count.c', 'server/base must not need engine_look of server/engine/engine.c')]),
    ('a call sideways', {'server/engine/engine.c': after(ENGINE_C, 'int at) {\n', '  log_line("looked");\n')},
     [('symbols', 'server/engine/engine.c', 'server/engine must not need log_line of server/ops/log.c')]),
    ('a call out of the client', {'client/claim.c': SOUND['client/claim.c'].replace('return 0', 'return count_next(0)')},
     [('symbols', 'client/claim.c', 'client must not need count_next of server/base/count.c')]),

    # circles
    ('of includes', {'server/base/a.h': '/* a.h - a room. */\n#ifndef A\n#define A\n#include "server/base/b.h"\n#endif\n',
                     'server/base/b.h': '/* b.h - a room. */\n#ifndef B\n#define B\n#include "server/base/a.h"\n#endif\n'},
     [('circles', 'server/base', 'a circle of files, 2 tied together: a -> b ("b.h"), b -> a ("a.h")')]),
    ('of calls', {**of('a', 'b', False), **of('b', 'a', False)},
     [('circles', 'server/base', 'a circle of files, 2 tied together: a -> b (b_do), b -> a (a_do)')]),
    ('of an include and a call', {**of('a', 'b', False), 'server/base/b.h': '/* b.h - a room. */\n#include "server/base/a.h"\nint b_do(int n);\n',
                                  'server/base/b.c': '/* b.c */\n#include "server/base/b.h"\n\nint b_do(int n) { return n; }\n'},
     [('unused', 'server/base/a.c', 'a_do is called by no program'),
      ('circles', 'server/base', 'a circle of files, 2 tied together: a -> b (b_do), b -> a ("a.h")')]),
    ('the shortest of a large one', {**of('a', 'b'), **of('b', 'c'), **of('c', 'd'), **of('d', 'a'),
                                     'server/base/d.h': '/* d.h - a room. */\nint d_do(int n);\nint d_look(int n);\n',
                                     'server/base/d.c': '/* d.c */\n#include "server/base/d.h"\n\nint d_do(int n) { return c_do(n) + a_do(n); }\n'
                                                        'int d_look(int n) { return d_do(n); }\n'},
     [('unused', 'server/base/d.c', 'd_look is called by no program'),
      ('circles', 'server/base', 'a circle of files, 4 tied together: c -> d (d_do "d.h"), d -> c (c_do)')]),

    # picture
    ('another floor', {'server/README.md': SOUND['server/README.md'].replace('floor 5', 'floor 4')},
     [('picture', 'server/README.md', 'server/net is on floor 5; the picture says 4')]),
    ('a room that the picture does not show', {'server/README.md': SOUND['server/README.md'].replace('base/', 'bass/')},
     [('picture', 'server/README.md', 'server/base is on floor 1; the picture says None')]),

    # prefix
    ('a function', {'server/ops/log.h': '/* log.h - writes. */\nvoid write_line(const char *text);\n',
                    'server/ops/log.c': SOUND['server/ops/log.c'].replace('log_line', 'write_line'),
                    'server/net/loop.c': LOOP_C.replace('log_line', 'write_line')},
     [('prefix', 'server/ops/log.c', 'write_line does not begin with log_')]),
    ('an inline function', {'server/base/count.h': COUNT_H.replace('count_twice', 'twice'),
                            'server/engine/engine.c': ENGINE_C.replace('count_twice', 'twice')},
     [('prefix', 'server/base/count.h:3', 'twice does not begin with count_')]),
    ('data', {'server/base/count.h': COUNT_H + 'extern const int COUNT_LIMIT;\n',
              'server/base/count.c': COUNT_C + 'const int COUNT_LIMIT = 3;\n',
              'server/net/loop.c': LOOP_C.replace('return 0;', 'extern_is_above();').replace('\n\nstatic', '\n#include "server/base/count.h"\n\nstatic', 1)
                                         .replace('extern_is_above()', 'return COUNT_LIMIT')},
     [('prefix', 'server/base/count.c', 'COUNT_LIMIT does not begin with count_')]),
    ('a public name in the server', {'server/ops/log.h': '/* log.h - writes. */\nvoid idem_line(const char *text);\n',
                                     'server/ops/log.c': SOUND['server/ops/log.c'].replace('log_line', 'idem_line'),
                                     'server/net/loop.c': LOOP_C.replace('log_line', 'idem_line')},
     [('prefix', 'server/ops/log.c', 'idem_line does not begin with log_')]),

    # headers
    ('in the header of another file', {'server/ops/log.h': '/* log.h - writes. */\n',
                                       'server/ops/lines.h': SOUND['server/ops/log.h'],
                                       'server/net/loop.c': LOOP_C.replace('ops/log.h', 'ops/lines.h')},
     [('headers', 'server/ops/lines.h:2', 'declares log_line, which server/ops/lines.c does not define'),
      ('headers', 'server/ops/log.c:6', 'log_line is declared in server/ops/lines.h, not in server/ops/log.h alone')]),
    ('in two headers', {'server/net/lines.h': SOUND['server/ops/log.h']},
     [('headers', 'server/net/lines.h:2', 'declares log_line, which server/net/lines.c does not define'),
      ('headers', 'server/ops/log.c:6', 'log_line is declared in server/net/lines.h, server/ops/log.h, not in server/ops/log.h alone')]),
    ('in no header', {'server/ops/log.h': '/* log.h - writes. */\n'},
     [('headers', 'server/ops/log.c:6', 'log_line is declared in no header, not in server/ops/log.h alone')]),
    ('a prototype in a .c', {'server/net/loop.c': LOOP_C.replace('#include "server/ops/log.h"\n', 'void log_line(const char *text);\n')},
     [('headers', 'server/net/loop.c:5', 'a prototype of log_line in a .c')]),
    ('a prototype in a function', {'server/net/loop.c': after(LOOP_C, 'arguments) {\n', '  extern int count_next(int);\n')},
     [('headers', 'server/net/loop.c:10', 'declares what another file has')]),
    ('without its own header', {'server/ops/log.c': SOUND['server/ops/log.c'].replace('#include "server/ops/log.h"\n', '')},
     [('headers', 'server/ops/log.c', 'does not include server/ops/log.h')]),
    ('a public function in another header', {'client/idem.h': '/* idem.h */\n' * 700, 'client/claim.h': '/* claim.h - a claim. */\nint idem_claim(void);\n',
                                             'client/claim.c': after(SOUND['client/claim.c'], '.h"\n', '#include "client/claim.h"\n')},
     [('headers', 'client/claim.c:5', 'idem_claim is declared in client/claim.h, not in client/idem.h alone')]),
    ('the same name in programs that never meet', {'client/count.h': COUNT_H, 'client/count.c': COUNT_C.replace('server/base', 'client'),
                                                   'client/claim.c': '/* claim.c */\n#include "client/idem.h"\n#include "client/count.h"\n\n'
                                                                     'int idem_claim(void) { return count_twice(0); }\n'}, []),

    # alone
    ('a header that says nothing', {'server/ops/log.h': 'void log_line(const char *text);\n'},
     [('alone', 'server/ops/log.h', 'does not begin by saying what it is')]),
    ('a header that needs another', {'server/ops/odd.h': '/* odd.h - a type. */\nstruct odd {\n  size_t len;\n};\n'},
     [('alone', 'server/ops/odd.h', "does not compile alone: server/ops/odd.h:3:3: error: unknown type name 'size_t'")]),

    # lengths
    ('a function', {'server/main.c': after(MAIN_C, '.h"\n', long_function(46)).replace('loop_run(', 'work(0) + loop_run(')},
     [('lengths', 'server/main.c:3', 'work has 46 lines, over 45')]),
    ('a function that just fits', {'server/main.c': after(MAIN_C, '.h"\n', long_function(45)).replace('loop_run(', 'work(0) + loop_run(')}, []),
    ('a file', {'server/base/count.h': COUNT_H + '\n' * 648}, [('lengths', 'server/base/count.h', '651 lines, over 650')]),
    ('a function of a test', {'tests/unit/test_count.c': long_function(66) + 'int main(void) { return work(0); }\n'},
     [('lengths', 'tests/unit/test_count.c:1', 'work has 66 lines, over 65')]),
    ('a file of a test', {'tests/unit/test_count.c': '\n' * 1351}, [('lengths', 'tests/unit/test_count.c', '1351 lines, over 1350')]),
    ('a function of a script', {'tests/tool.py': 'def work():\n' + '    work()\n' * 45},
     [('lengths', 'tests/tool.py:1', 'work has 46 lines, over 45')]),
    ('a script', {'tests/tool.py': '\n' * 951, 'bench/tool.py': '\n' * 451},
     [('lengths', 'bench/tool.py', '451 lines, over 450'), ('lengths', 'tests/tool.py', '951 lines, over 950')]),

    # state
    ('of a file', {'server/base/count.c': COUNT_C.replace('int count_next', 'static int calls;\nint count_next').replace('before', 'calls++')
                                                 .replace('int calls++)', 'int before)')},
     [('state', 'server/base/count.c', 'calls is mutable state')]),
    ('of a function', {'server/base/count.c': COUNT_C.replace('{ return before + 1', '{\n  static int calls = 7;\n  return calls++')},
     [('state', 'server/base/count.c', 'calls is mutable state')]),
    ('of a thread', {'server/base/count.c': COUNT_C.replace('{ return before + 1', '{\n  static _Thread_local int calls;\n  return calls++')},
     [('state', 'server/base/count.c', 'calls is mutable state')]),
    ('pointers that can change', {'server/engine/engine.c': ENGINE_C.replace('*const WORDS', '*WORDS').replace('  const char *found', '  WORDS[at] = 0;\n  const char *found')},
     [('state', 'server/engine/engine.c', 'WORDS is mutable state')]),
    ('of the client', {'client/claim.c': SOUND['client/claim.c'].replace('int idem', 'static int last;\nint idem').replace('return 0', 'return last++')},
     [('state', 'client/claim.c', 'last is mutable state')]),
    ('a long file that is short now', {'client/idem.h': SOUND['client/idem.h'].strip()},
     [('lengths', 'client/idem.h', 'is excepted for nothing')]),
    ('an exception that nothing needs', {'server/main.c': MAIN_C.replace('const char *malloc_conf = "";\n', '')},
     [('prefix', 'server/main.c', 'malloc_conf is excepted for nothing'), ('state', 'server/main.c', 'malloc_conf is excepted for nothing')]),

    # unused
    ('called by a test only', {'server/base/count.h': COUNT_H + 'int count_back(int n);\n',
                               'server/base/count.c': COUNT_C + 'int count_back(int n) { return n - 1; }\n',
                               'tests/unit/test_count.c': SOUND['tests/unit/test_count.c'].replace('count_next', 'count_back')},
     [('unused', 'server/base/count.c', 'count_back is called by no program')]),
    ('called by its own file only', {'server/base/count.h': COUNT_H + 'int count_back(int n);\n',
                                     'server/base/count.c': COUNT_C.replace('before + 1', 'count_back(before) + 2') +
                                                            'int count_back(int n) { return n - 1; }\n'},
     [('unused', 'server/base/count.c', 'count_back is needed by no other file')]),
    ('called by its own file and a test', {'server/base/count.h': COUNT_H + 'int count_back(int n);\n',
                                           'server/base/count.c': COUNT_C.replace('before + 1', 'count_back(before) + 2') +
                                                                  'int count_back(int n) { return n - 1; }\n',
                                           'tests/unit/test_count.c': SOUND['tests/unit/test_count.c'].replace('count_next', 'count_back')}, []),
    ('an inline function', {'server/engine/engine.c': ENGINE_C.replace('count_twice', 'count_next')},
     [('unused', 'server/base/count.h:3', 'count_twice is called by no program')]),
    ('a public function', {'client/examples/demo.c': '/* demo.c */\nint main(void) { return 0; }\n'},
     [('unused', 'client/claim.c', 'idem_claim is public and no test or example calls it')]),
]


def build(root, changes):
    """Writes the files, compiles every .c as the Makefile does; '-' and '+' name those whose object is missing or old."""
    files = {**SOUND, **{path: text for path, text in changes.items() if path not in '-+'}}
    subprocess.run(['git', 'init', '-q', root], check=True)
    for path, text in files.items():
        os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
        with open(os.path.join(root, path), 'w', encoding='utf-8') as file:
            file.write(text)
    for path in files:
        if path.endswith('.c') and path not in changes.get('-', []):
            made = os.path.join('build/release', path[:-2] + '.o')
            os.makedirs(os.path.join(root, os.path.dirname(made)), exist_ok=True)
            subprocess.run([os.environ.get('CC', 'cc'), '-std=c11', '-D_GNU_SOURCE', '-w', '-O2', '-fPIE', '-I.', '-c', '-o', made, path], cwd=root, check=True)
    for path in changes.get('+', []):
        os.utime(os.path.join(root, 'build/release', path[:-2] + '.o'), (0, 0))


def wrong(case):
    """What the check says of a case beside what it should, or None."""
    title, changes, expected = case
    with tempfile.TemporaryDirectory(prefix='idem-test-') as root:
        build(root, changes)
        found = run.findings(Tree(root, 'build/release'))
    if sorted(found) == sorted(expected):
        return None
    rule = expected[-1][0] if expected else 'none'
    return f'FAILED: {rule}, {title}:' + ''.join(f'\n  not found  {finding}' for finding in expected if finding not in found) + \
        ''.join(f'\n  too much   {finding}' for finding in found if finding not in expected)


def main():
    shown = {rule for _, _, expected in CASES for rule, _, _ in expected}
    failures = [f'FAILED: no case breaks the rule {rule}' for rule in run.RULES if rule not in shown]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures += [failure for failure in pool.map(wrong, CASES) if failure]
    for failure in failures:
        print(failure)
    print(f'check: {len(CASES)} houses, {len(run.RULES)} rules, {len(failures)} failures')
    sys.exit(1 if failures else 0)


if __name__ == '__main__':
    main()
