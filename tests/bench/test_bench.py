#!/usr/bin/python3
"""What make bench puts together: cases, targets and their verdicts. No server is started; the load generator has tests
among the units.
"""
import argparse
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'bench'))

import axes
import backing
import measure
import run
import samples
import servers
import targets

CPU = targets.CPU


def options(*given):
    return run.parse_options(list(given))


def of(name, family='idem', **others):
    return servers.Server(name, name, family, lambda port, sizes: ['--port', str(port)], **others)


def cells(name, **figures):
    """{case: {server: rounds of two runs}} with one CPU figure for each round."""
    return {name: {server: [[{CPU: value}, {CPU: value}] for value in values] for server, values in figures.items()}}


class Cases(unittest.TestCase):
    def test_every_target_names_a_case(self):
        titles = {case.title() for case in axes.all_cases(options('--axes', 'all'))}
        for target in [*targets.list_targets(), *targets.further_targets()]:
            self.assertIn(target.axis, titles)

    def test_the_table_needs_the_usual_axes_only(self):
        titles = {case.title() for case in axes.all_cases(options())}
        for target in targets.list_targets():
            self.assertIn(target.axis, titles)

    def test_titles_differ(self):
        titles = [case.title() for case in axes.all_cases(options('--axes', 'all'))]
        self.assertEqual(len(titles), len(set(titles)))

    def test_an_unknown_axis_is_refused(self):
        with self.assertRaises(argparse.ArgumentTypeError):
            run.list_of_axes('steady,nothing')


class Visits(unittest.TestCase):
    def case(self, title):
        return next(case for case in axes.all_cases(options('--axes', 'all')) if case.title() == title)

    def visits(self, title, *found):
        return [label for server in found for label, _ in axes.recipes(self.case(title), server)]

    def test_servers_on_unix_sockets_are_for_that_axis(self):
        both = of('idem'), of('idem unix', socket=True)
        self.assertEqual(self.visits('unix claim, pipeline 1', *both), ['idem unix'])
        self.assertEqual(self.visits('claim, pipeline 1', *both), ['idem'])

    def test_loops_are_compared_with_loops(self):
        both = of('idem'), of('idem, 2 loops', 'loops')
        self.assertEqual(self.visits('job by loops on one CPU, pipeline 16', *both), ['idem, 2 loops'])
        self.assertEqual(self.visits('job, pipeline 16', *both), ['idem'])

    def test_pogocache_has_no_jobs(self):
        both = of('redis', 'redis'), of('pogocache', 'redis')
        self.assertEqual(self.visits('job, pipeline 1', *both), ['redis', 'redis lua'])

    def test_the_echo_of_a_job_is_the_sum_of_its_steps(self):
        job, claim, echo = self.case('job, pipeline 1'), self.case('claim, pipeline 1'), of('echo', 'echo')
        self.assertEqual((axes.steps(job, echo), axes.steps(claim, echo), axes.steps(job, of('idem'))), (3, 1, 1))
        run_of = {'operations': 10, 'seconds': 1, 'server_wait_ns': 5, CPU: 4, 'server_reads_per_operation': 1}
        found = measure.summed([run_of] * 3)
        self.assertEqual((found[CPU], found['server_reads_per_operation'], found['operations']), (12, 3, 10))
        self.assertEqual((found['seconds'], found['server_wait_ns']), (3, 15))

    def test_a_server_on_a_unix_socket_is_told_so(self):
        found = servers.known_unix({'idem': of('idem', picks_port=True), 'memcached': of('memcached', 'memcached')})
        self.assertEqual(list(found), ['idem unix'])
        self.assertEqual(found['idem unix'].command(7, {}), ['idem', '--port', '7', '--unixsocket', servers.SOCKET])
        self.assertEqual(servers.where('/a/socket'), ['--unix', '/a/socket'])
        self.assertEqual(servers.where(7), ['--port', '7'])


class Verdicts(unittest.TestCase):
    NAME = 'claim, pipeline 64'  # at most 1.8 x the echo

    def row(self, **figures):
        found = [row for row in targets.rows(cells(self.NAME, **figures), False) if row[0] == self.NAME]
        self.assertEqual(len(found), 1)
        return found[0][3:]

    def test_the_median_of_the_rounds_decides(self):
        self.assertEqual(self.row(idem=[10, 17, 18], echo=[10, 10, 10]), ['1.70 (1.00..1.80)', 'yes'])
        self.assertEqual(self.row(idem=[10, 19, 20], echo=[10, 10, 10]), ['1.90 (1.00..2.00)', 'NO ~'])
        self.assertEqual(self.row(idem=[19, 19, 20], echo=[10, 10, 10]), ['1.90 (1.90..2.00)', 'NO'])
        self.assertEqual(self.row(idem=[10, 17, 20], echo=[10, 10, 10]), ['1.70 (1.00..2.00)', 'yes ~'])

    def test_ratios_are_taken_inside_a_round(self):
        self.assertEqual(self.row(idem=[10, 100], echo=[10, 100]), ['1.00 (1.00..1.00)', 'yes'])

    def test_at_least_is_the_other_way_round(self):
        name = 'replay 100 KB'
        for floor, said in ((95, 'yes'), (94, 'NO')):
            found = targets.rows(cells(name, **{'epoll-echo': [floor], 'idem': [100]}), False)
            self.assertEqual([row[4] for row in found], [said])

    def test_what_was_not_measured_says_so(self):
        self.assertEqual(targets.rows({}, False), [])
        self.assertEqual({tuple(row[3:]) for row in targets.rows({}, True)}, {('not measured', '-')})
        self.assertEqual(len(targets.rows({}, True)), len(targets.list_targets()))

    def test_what_falls_short_is_profiled(self):
        self.assertEqual(targets.missed(cells(self.NAME, idem=[19], echo=[10])), [(self.NAME, 'idem')])
        self.assertEqual(targets.missed(cells(self.NAME, idem=[18], echo=[10])), [])

    def test_memory_is_compared_with_what_is_used(self):
        found = {'fill-claim': {'idem': [[{'rss_bytes_per_key': 104.0, 'used_bytes_per_key': 100.0,
                                           'worst_used_bytes_per_key': 101.0}]]}}
        self.assertEqual([row[3:] for row in targets.rows(found, False)],
                         [['101.0 (101.0..101.0)', 'NO'], ['1.040 (1.040..1.040)', 'NO']])


class Profiles(unittest.TestCase):
    def test_a_line_of_perf_is_read(self):
        lines = ['    12.50%  [k] do_syscall_64', '     3.25%  [.] find_entry.lto_priv.0 ', '']
        found = [(float(m[1]), m[2] == 'k', m[3]) for m in map(samples.LINE.match, lines) if m]
        self.assertEqual(samples.row('a case', found), ['a case', '12 %', 'find_entry 3.2'])

    def test_a_case_loses_its_amount(self):
        case = axes.Case('steady', 'x', 'replay', more=['--keys', '5', '--seconds', '1', '--requests', '2'])
        self.assertEqual(samples.without_amount(case).more, ['--keys', '5'])


class Backing(unittest.TestCase):
    def test_whole_huge_pages_are_touched(self):
        touched, huge = backing.touch(2 * backing.HUGE + 1)
        self.assertEqual(touched, 2 * backing.HUGE)
        self.assertLessEqual(huge, touched)

    def test_it_is_touched_again_only_while_that_is_slow(self):
        with mock.patch.object(backing, 'touch', return_value=(1 << 20, 0)) as touch:
            with mock.patch.object(backing, 'BACKED_S_PER_GIB', 1e9):
                backing.touch_until_fast(1 << 20)
            self.assertEqual(touch.call_count, 1)
            with mock.patch.object(backing, 'BACKED_S_PER_GIB', -1):
                size, huge, pace = backing.touch_until_fast(1 << 20)
            self.assertEqual(touch.call_count, 1 + backing.TRIES)
        self.assertEqual((size, huge), (1 << 20, 0))
        self.assertGreater(pace, 0)

    def test_reporting_is_as_before_when_the_run_ends(self):
        with tempfile.NamedTemporaryFile('w+') as file:
            file.write('9\n')
            file.flush()
            with self.assertRaises(servers.BenchError), backing.kept(file.name) as says:
                self.assertIn('from order 11 on, not 9', says)
                with open(file.name, encoding='ascii') as now:
                    self.assertEqual(now.read(), '11')
                raise servers.BenchError('the run fails')
            with open(file.name, encoding='ascii') as now:
                self.assertEqual(now.read(), '9')

    def test_a_kernel_that_reports_nothing(self):
        with backing.kept('/nowhere/page_reporting_order') as says:
            self.assertIsNone(says)

    def test_no_more_than_there_is(self):
        available = backing.field_kb('/proc/meminfo', 'MemAvailable') << 10
        self.assertGreater(available, 0)
        self.assertLess(backing.affordable(1 << 60), available)


if __name__ == '__main__':
    unittest.main()
