"""C text, as far as the rules need it: what is defined and declared at file scope, and where.

It does not depend on layout, and knows little of the preprocessor: directives are skipped, and both branches of an #if
are read.
"""
import bisect
import re
from dataclasses import dataclass, field

NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
DIRECTIVE = re.compile(r'^[ \t]*#(?:\\\n|[^\n])*', re.M)
CPLUSPLUS = re.compile(r'^[ \t]*#[ \t]*ifdef __cplusplus\n.*?^[ \t]*#[ \t]*endif', re.M | re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.M)
ATTRIBUTE = re.compile(r'__attribute__\s*\(\(.*?\)\)|\b_Alignas\s*\([^()]*\)', re.S)
DECLARATOR = re.compile(r'\b([A-Za-z_]\w*)\s*\((?!\s*\*)')
WORD = re.compile(r'[A-Za-z_]\w*')


@dataclass
class Function:
    name: str
    line: int       # of its first word
    lines: int      # to its closing brace, or semicolon
    defined: bool   # has a body
    static: bool


@dataclass
class Source:
    path: str
    text: str
    functions: list = field(default_factory=list)  # at file scope: definitions and prototypes
    includes: list = field(default_factory=list)   # (line, '<' or '"', name)
    code: str = ''                                 # without comments and literals

    @property
    def folder(self):
        return self.path.rpartition('/')[0]

    @property
    def stem(self):
        return self.path.rpartition('/')[2].rpartition('.')[0]

    @property
    def is_header(self):
        return self.path.endswith('.h')

    def words(self):
        return WORD.findall(self.code)


def blank(match):
    """The same lines, nothing on them."""
    return re.sub(r'[^\n]', ' ', match.group())


def blank_noise(match):
    text = match.group()
    return blank(match) if text[0] == '/' else text[0] + ' ' * (len(text) - 2) + text[-1]


def parse(path, text):
    source = Source(path, text)
    ends = [match.start() for match in re.finditer('\n', text)]
    without_comments = NOISE.sub(lambda match: blank(match) if match.group()[0] == '/' else match.group(), text)
    for match in INCLUDE.finditer(without_comments):
        source.includes.append((bisect.bisect_left(ends, match.start(1)) + 1, match.group(1), match.group(2)))
    source.code = NOISE.sub(blank_noise, text)
    scope = DIRECTIVE.sub(blank, CPLUSPLUS.sub(blank, source.code))
    for start, body, end in chunks(scope):
        function = function_of(scope[start:body if body is not None else end])
        if function is None:
            continue
        first = bisect.bisect_left(ends, start) + 1
        last = bisect.bisect_left(ends, end) + 1
        name, static = function
        source.functions.append(Function(name, first, last - first + 1, body is not None, static))
    return source


def chunks(scope):
    """(start, begin of the body or None, end) of everything at file scope."""
    depth, start, body = 0, None, None
    for match in re.finditer(r'[{};]|[^\s{};]+', scope):
        token, at = match.group(), match.start()
        if start is None and token not in '{};':
            start = at
        if token == '{':
            if depth == 0 and start is not None and is_function(scope[start:at]):
                body = at
            depth += 1
        elif token == '}':
            depth -= 1
            if depth == 0 and body is not None:
                yield start, body, at
                start = body = None
        elif token == ';' and depth == 0:
            if start is not None:
                yield start, None, at
            start = body = None


def is_function(head):
    return function_of(head) is not None and head.rstrip().endswith(')')


def function_of(head):
    """(name, static) of a function's declarator; None: something else."""
    head = ATTRIBUTE.sub(' ', head)
    match = DECLARATOR.search(head)
    if match is None or '=' in head[:match.start()] or re.match(r'\s*(typedef|_Static_assert)\b', head):
        return None
    before = head[:match.start()]
    if not WORD.search(before) or '(' in before or '{' in before:
        return None
    return match.group(1), bool(re.search(r'\bstatic\b', before))
