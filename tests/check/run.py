#!/usr/bin/env python3
"""What can be told of the house without running it; `make check` calls this after building what it looks at.

    run.py [--only RULE ...] [--folder FOLDER] [--built build/release]

house.py has the floors, limits and exceptions. test_check.py shows that each rule finds what breaks it.
"""
import argparse
import os
import sys

sys.dont_write_bytecode = True

import names
import rooms
import sizes
from tree import Tree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = {rule.__name__: rule for rule in [*rooms.RULES, *names.RULES, *sizes.RULES]}


def findings(tree, only=RULES):
    """(rule, where, what) of all that breaks a rule."""
    return [(name, where, what) for name in only for where, what in RULES[name](tree)]


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description='\n'.join(f'{name:10}{rule.__doc__}' for name, rule in RULES.items()))
    parser.add_argument('--only', action='append', choices=RULES, metavar='RULE', help='this rule; may be repeated')
    parser.add_argument('--folder', default='', help='only what is found in this folder')
    parser.add_argument('--built', default='build/release', help='where the objects are')
    parser.add_argument('--root', default=ROOT, help='another repository')
    options = parser.parse_args()
    tree = Tree(options.root, options.built)
    found = [finding for finding in findings(tree, options.only or RULES) if finding[1].startswith(options.folder)]
    for name, where, what in found:
        print(f'{where}: {what} [{name}]')
    print(f'check: {len(tree.sources) + len(tree.scripts)} files, {len(tree.objects)} objects, {len(found)} findings')
    sys.exit(1 if found or not tree.sources or not tree.objects else 0)


if __name__ == '__main__':
    main()
