"""Tables, RESULTS.md and charts, from the cells of a run. Nothing here measures."""

import contextlib
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess

import axes
import durable
import targets
from servers import ROOT

DISTURBED_PERCENT = 2
CHARTS = os.path.join("bench", "charts")

# Case kinds and the figures that their tables show: (field, head, decimals).
WAKE = [("first_p50_us", "first us", 0), ("each_p50_us", "middle us", 0),
        ("last_p50_us", "last us", 0), ("last_p99_us", "last p99 us", 0),
        ("server_cpu_ns_per_waiter", "CPU ns per waiter", 0),
        ("peak_rss_rise_bytes", "peak rise bytes", 0)]
MEMORY = [("used_bytes_per_key", "used", 1), ("worst_used_bytes_per_key", "worst used", 1),
          ("rss_bytes_per_key", "resident", 1), ("worst_rss_bytes_per_key", "worst resident", 1),
          ("used_bytes_per_connection", "used per connection", 1),
          ("rss_bytes_per_connection", "resident per connection", 1)]
EXPIRY = [("expiry_cpu_ns_per_key", "CPU ns per key", 0),
          ("expiry_alone_cpu_ns_per_key", "without readers", 0),
          ("quiet_p999_us", "quiet p99.9 us", 0), ("window_p999_us", "window p99.9 us", 0),
          ("bystander_p50_rise_us", "p50 rise us", 0),
          ("bystander_p999_rise_us", "p99.9 rise us", 0),
          ("used_bytes_per_expiring_key", "bytes per key", 0),
          ("memory_back_at_most_ms", "memory back ms", 0)]
CALLS = [("server_reads_per_operation", "reads"), ("server_writes_per_operation", "writes"),
         ("server_sleeps_per_operation", "sleeps")]
ENGINE = [("cpu_ns_per_key", "CPU ns per ended key", 1), ("bytes_per_key", "bytes per key", 1),
          ("tick_p50_us", "tick p50 us", 1), ("tick_p999_us", "tick p99.9 us", 1),
          ("tick_longest_us", "longest tick us", 1), ("keys", "keys grown to", 0),
          ("run_1_over_50us", "over 50 us, run 1", 0), ("run_2_over_50us", "run 2", 0),
          ("run_3_over_50us", "run 3", 0), ("always_over_50us", "the same step in all", 0),
          ("longest_us", "longest of the least us", 1)]
CORES = [("operations_per_second", "ops/s", 0), ("server_cpu_ns_per_operation", "server CPU ns", 0),
         ("load_cpu_ns_per_operation", "load CPU ns", 0), ("server_cpus", "CPUs of the server", 2),
         ("load_cpus", "of the load", 2)]
JOURNAL = [("keys", "keys", 0), ("log_bytes_per_key", "log bytes per key", 1),
           ("ready_s", "ready s", 2), ("recovered_ms", "recovered ms", 0),
           ("records", "records", 0), ("ns_per_record", "ns per record", 0),
           ("cpu_ns_per_record", "CPU ns per record", 0),
           ("jobs_per_second", "jobs/s", 0), ("most_disk_mb", "most disk MB", 0),
           ("removed_segments", "removed", 0), ("removed_unread", "removed unread", 0),
           ("again_bytes", "bytes again", 0), ("slice_max_us", "longest slice us", 0),
           ("kept_most_disk_mb", "keys that stay: most disk MB", 0),
           ("kept_removed_segments", "removed", 0), ("kept_again_bytes", "bytes again", 0),
           ("kept_slice_max_us", "longest slice us", 0)]
SPEED = [("operations_per_second", "ops/s", 0), ("latency_p50_us", "p50 us", 0),
         ("latency_p99_us", "p99 us", 0), ("latency_p999_us", "p99.9 us", 0),
         ("latency_max_us", "max us", 0), ("request_bytes", "bytes in", 0),
         ("reply_bytes", "bytes out", 0)]
OPEN_LOOP = [("latency_p50_us", "p50 us", 0), ("latency_p90_us", "p90 us", 0),
             ("latency_p99_us", "p99 us", 0), ("latency_p999_us", "p99.9 us", 0),
             ("latency_max_us", "max us", 0), ("send_lag_p99_us", "load late p99 us", 0)]


PROFILE = ("Where the time goes", "perf's samples of the server in the cases that fall short.")


def flat(rounds, field):
    return [run[field] for pair in rounds for run in pair if field in run]


def table(head, rows):
    """A Markdown table that is also readable in a terminal."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * (width - 1) + ":" for width in widths], *rows]
    padded = [[f"{cell:>{width}}" for cell, width in zip(line, widths)] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def spread(values, decimals):
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:.{decimals}f}"
    return f"{middle:.{decimals}f} ({low:.{decimals}f}..{high:.{decimals}f})"


def middle(values, decimals):
    return f"{statistics.median(values):.{decimals}f}" if values else "-"


def base_of(servers, base):
    """The one that the others of a case are compared with: `base`, or of its kind."""
    return base if base in servers else next((name for name in servers if name.startswith(base)), base)


def cpu_table(cells, base="idem"):
    rows = []
    for name, servers in cells.items():
        for server, rounds in servers.items():
            if not flat(rounds, targets.CPU):
                continue
            own = base_of(servers, base)
            ours = targets.ratio(cells, name, own, server, targets.CPU)
            rows.append([name, server, spread(flat(rounds, targets.CPU), 0),
                         ours.show() if ours and server != own else "-",
                         *(middle(flat(rounds, field), 4) for field, _ in CALLS)])
    return table(["case", "server", "CPU ns per operation", f"{base} / server",
                  *(head for _, head in CALLS)], rows)


def windowed(rounds, field, decimals):
    """As spread; a run that measured several times says the lowest and highest itself."""
    lows, highs = flat(rounds, f"{field}_low"), flat(rounds, f"{field}_high")
    if not lows:
        return spread(flat(rounds, field), decimals)
    middle = statistics.median(flat(rounds, field))
    return f"{middle:.{decimals}f} ({min(lows):.{decimals}f}..{max(highs):.{decimals}f})"


def field_table(cells, fields):
    """One row per case and server, with the fields that any of them has."""
    rounds_of = [(name, server, rounds) for name, servers in cells.items()
                 for server, rounds in servers.items()]
    used = [field for field in fields
            if any(flat(rounds, field[0]) for _, _, rounds in rounds_of)]
    rows = [[name, server, *(windowed(rounds, key, decimals) for key, _, decimals in used)]
            for name, server, rounds in rounds_of]
    return table(["case", "server", *(head for _, head, _ in used)], rows)


def target_tables(cells, all_axes):
    """[(title, table)] of those that have rows."""
    found = [("Targets", ["axis", "target", "before", "measured", "met"],
              targets.rows(cells, all_axes)),
             ("Earlier targets", ["axis", "target", "measured", "met"], targets.further_rows(cells))]
    return [(title, table(head, rows)) for title, head, rows in found if rows]


def profile_table(rows):
    return table(["case", "in the kernel", "our functions, percent of all samples"], rows)


def waited_percent(run):
    """How long the server was ready to run while something else had its CPU."""
    return 100 * run["server_wait_ns"] / (run["seconds"] * 1e9)


def disturbance(cells):
    waits = [waited_percent(run) for servers in cells.values() for rounds in servers.values()
             for pair in rounds for run in pair if "server_wait_ns" in run]
    disturbed = sum(wait > DISTURBED_PERCENT for wait in waits)
    return (f"{disturbed} of {len(waits)} runs were disturbed (something else used the server's "
            f"CPU for more than {DISTURBED_PERCENT} % of the time)")


def parts_of_speed():
    """[(axes, title, what it says, cells -> table)], in the order of the report."""
    return [
        (("steady", "job", "unix", "large", "loops"), "Server CPU per operation",
         "Nanoseconds: median (lowest..highest run). Ratios: median (lowest..highest round). Calls: "
         "how often the server read, wrote and slept for an operation; - where it uses other calls.",
         cpu_table),
        (("steady", "job", "unix", "large"), "Speed and latency of the closed loop",
         "They describe this load on this machine, not what a server can do.",
         lambda cells: field_table(cells, SPEED)),
        (("latency",), "Latency at a fixed rate",
         "From the intended time of sending. `load late`: what the generator itself was late.",
         lambda cells: field_table(cells, OPEN_LOOP)),
        (("wake",), "Wake-ups", "From the owner's sending; medians over the rounds of one run.",
         lambda cells: field_table(cells, WAKE)),
    ]


def parts_of_the_rest():
    return [
        (("memory", "aged"), "Memory",
         "Bytes; claims of idem have a fingerprint of 16. `used`: what the server says of itself. Worst: from half full to full.",
         lambda cells: field_table(cells, MEMORY)),
        (("expiry",), "Mass expiry",
         "Many keys within a second, beside readers at a fixed rate: median (lowest..highest window).",
         lambda cells: field_table(cells, EXPIRY)),
        (("engine", "growth"), "The engine alone", "Without sockets and protocol (`bench-engine`).",
         lambda cells: field_table(cells, ENGINE)),
        (("cores",), "Loops on two cores",
         "One loop has a CPU and the load the other one; two loops share both CPUs with the load.",
         lambda cells: field_table(cells, CORES)),
        (("durable",), "Durable: server CPU per operation",
         "`always`: a reply leaves after the sync. `raw sync`: 4 KiB and fdatasync in a file of zeros.",
         lambda cells: cpu_table(cells, "idem always")),
        (("durable",), "Durable: speed and latency", "50 clients, and one client.",
         lambda cells: field_table(cells, SPEED)),
        (("tls",), "TLS: server CPU per operation",
         "Nanoseconds: median (lowest..highest run), with and without TLS. Handshakes are not in it.",
         lambda cells: cpu_table(cells, "idem tls")),
        (("tls",), "TLS: speed and latency", "Of this load on this machine.",
         lambda cells: field_table(cells, SPEED)),
        (("journal",), "The journal", "A start after a stop, and a minute of responses that end.",
         lambda cells: field_table(cells, JOURNAL)),
    ]


def sections(cells_of_axis):
    """[(title, what it says, table)] of what was measured."""
    found = []
    for names, title, says, make in [*parts_of_speed(), *parts_of_the_rest()]:
        cells = {name: servers for axis in names for name, servers in
                 cells_of_axis.get(axis, {}).items()}
        if cells:
            found.append((title, says, make(cells)))
    return found


def first_match(path, pattern, default):
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        match = re.search(pattern, file.read(), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return default


def text_of(command):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
        lines = result.stdout.strip().splitlines()
        return lines[0] if lines else ""
    return ""


def machine(options, servers):
    memory_kb = int(first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)", "0"))
    commit = text_of(["git", "rev-parse", "HEAD"]) or "unknown"
    if text_of(["git", "status", "--porcelain", "--", "server", "proto", "bench", "Makefile",
                ":!bench/RESULTS*.md", f":!{CHARTS}"]):
        commit += " with local changes"
    cpu = first_match("/proc/cpuinfo", r"^model name\s*:\s*(.+)$", platform.machine())
    if first_match("/proc/cpuinfo", r"^flags.*( hypervisor)", ""):
        cpu += " (virtual)"
    system = first_match("/etc/os-release", r"^PRETTY_NAME=.(.+).$", "unknown")
    versions = [f"- {server.name}: {text_of([server.program, '--version']) or 'version unknown'}"
                for server in servers.values()
                if server.family in ("redis", "memcached") and not server.data and not server.load]
    if {"durable", "journal"} & set(options.axes):
        versions.append(f"- data of durable servers: {durable.file_system(options.data)}")
    return [
        f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        f"- commit: {commit}",
        f"- CPU: {cpu}, {os.cpu_count()} CPUs, {memory_kb / 2**20:.1f} GiB",
        f"- system: {system}, {platform.system()} {platform.release()}",
        *versions,
        f"- servers on CPU {options.server_cpu}, load on CPU {options.load_cpu}",
    ]


def chart_script(cells, path, title, field, label, scale):
    """A gnuplot script with its data inside: bars by case, one colour per server."""
    names = list(cells)
    servers = list(dict.fromkeys(server for name in names for server in cells[name]))
    lines = ["set terminal svg size 960,420 dynamic font 'sans-serif,12'",
             f"set output '{path}'", f"set title '{title}'", f"set ylabel '{label}'",
             "set style data histogram", "set style histogram clustered gap 1",
             "set style fill solid 0.85 noborder", "set boxwidth 0.9", "set grid ytics",
             "set yrange [0:*]", "set key outside right top", "set xtics rotate by -20",
             "$data << END", "case " + " ".join(f'"{server}"' for server in servers)]
    for name in names:
        values = [statistics.median(found) / scale if found else None
                  for found in (flat(cells[name].get(server, []), field) for server in servers)]
        lines.append(f'"{name}" ' + " ".join("?" if value is None else f"{value:.3f}"
                                             for value in values))
    lines += ["END", "set datafile missing '?'",
              f"plot for [i=2:{len(servers) + 1}] $data using i:xtic(1) title columnheader(i)"]
    return "\n".join(lines) + "\n"


def write_charts(cells_of_axis, note):
    """SVG files by gnuplot; their paths, [] without gnuplot."""
    gnuplot = shutil.which("gnuplot")
    if not gnuplot:
        note("no gnuplot on the PATH: no charts")
        return []
    wanted = [("steady", "cpu", "Server CPU per operation", targets.CPU, "microseconds", 1000),
              ("job", "job", "Server CPU per whole job", targets.CPU, "microseconds", 1000),
              ("latency", "latency", "99.9th percentile at a fixed rate", "latency_p999_us",
               "milliseconds", 1000),
              ("wake", "wake", "Until the last waiter has its answer", "last_p50_us",
               "milliseconds", 1000)]
    os.makedirs(os.path.join(ROOT, CHARTS), exist_ok=True)
    written = []
    for axis, name, title, field, label, scale in wanted:
        cells = cells_of_axis.get(axis)
        if not cells:
            continue
        path = os.path.join(CHARTS, f"{name}.svg")
        script = chart_script(cells, path, title, field, label, scale)
        subprocess.run([gnuplot], input=script, text=True, cwd=ROOT, check=True, timeout=60)
        written.append((title, path))
    return written


def most_rounds(cells):
    return max(len(rounds) for servers in cells.values() for rounds in servers.values())


def results(options, bench, charts):
    cells_of_axis, commands = bench.cells_of_axis, bench.measurer.commands
    cells = {name: found for axis in cells_of_axis.values() for name, found in axis.items()}
    lines = [
        "# Results",
        "",
        "Generated by `bench/run.py --write`; do not edit. README.md explains the method.",
        "",
        *machine(options, bench.servers),
        f"- {bench.says_backed()}",
        f"- up to {most_rounds(cells)} rounds, each server twice in each",
        f"- {disturbance(cells)}",
        f"- made by: `/usr/bin/python3 bench/run.py {' '.join(options.given)}`",
        "",
    ]
    for title, text in target_tables(cells, set(axes.USUAL) <= set(options.axes)):
        lines += [f"## {title}",
                  "Ratios and figures: median (lowest..highest round). `~`: the lowest or the highest "
                  "would say otherwise.", "", text, ""]
    if bench.profiles:
        lines += [f"## {PROFILE[0]}", PROFILE[1], "", profile_table(bench.profiles), ""]
    for title, path in charts:
        lines += [f"![{title}]({os.path.relpath(path, 'bench')})", ""]
    for title, says, text in sections(cells_of_axis):
        lines += [f"## {title}", says, "", text, ""]
    lines += ["## Commands",
              "Each pair was run with a fresh server; PORT, PATH and PID are the server's.", "", "```"]
    for command_lines in commands.values():
        lines += command_lines
    return "\n".join([*lines, "```", ""])
