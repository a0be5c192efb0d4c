"""Judges reports of the Autobahn suite: tally by group and behaviour, a line for each case not as demanded.

usage: tally.py REPORTS LOGS DEMAND...

REPORTS has a directory for each process of wstest, which wrote its report to it, and LOGS its output as *.log, which
names the cases it set out to run. A DEMAND is "6=145" (group 6 has exactly that many cases) or a pattern such as "5.*"
or "7.1.6" (it has at least one). Demanded of each case is OK for its behaviour and for its closing. Exit code 0 if
all is so, else 1.
Runs on Python 2.7 and 3.
"""

from __future__ import print_function

import ast
import collections
import glob
import io
import json
import os
import re
import sys

# The suite gives INFORMATIONAL to everyone here, whatever the peer does: RFC 6455 leaves the outcome open.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

# A run that broke off leaves hundreds of cases without a result: the first say enough.
MISSING_SHOWN = 10


def main(reports, logs, demands):
    results = read_results(reports)
    planned = read_planned(logs)
    print_tally(results)

    faults = ["%-8s %s" % (case, describe(results[case])) for case in in_order(results)
              if not is_as_demanded(case, results[case])]
    missing = in_order(planned - set(results))
    faults += ["%-8s no result, though it was to be run" % case for case in missing[:MISSING_SHOWN]]
    if len(missing) > MISSING_SHOWN:
        faults.append("... and %d more without a result" % (len(missing) - MISSING_SHOWN))
    faults += [fault for fault in (count_fault(demand, results) for demand in demands) if fault]
    if faults:
        print("autobahn: not as demanded:")
        for fault in faults:
            print("  " + fault)
    else:
        print("autobahn: all as demanded")
    return 1 if faults or not results else 0


def is_as_demanded(case, result):
    allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
    return result["behavior"] in allowed and result["behaviorClose"] in allowed


def count_fault(demand, results):
    """What is wrong with the number of results for one DEMAND, or None."""
    if "=" in demand:
        group, count = demand.split("=")
        found = sum(1 for case in results if group_of(case) == group)
        return None if found == int(count) else "%-8s %d results, demanded are %s" % (group + ".*", found, count)
    # As the suite reads its patterns: anchored at the front, and at the end only where there is no star.
    pattern = re.compile(demand.replace(".", r"\.").replace("*", ".*") + ("" if "*" in demand else "$"))
    return None if any(pattern.match(case) for case in results) else "%-8s no case has a result" % demand


def print_tally(results):
    groups = collections.OrderedDict()
    for case in in_order(results):
        groups.setdefault(group_of(case) + ".*", []).append(results[case])
    groups["all"] = list(results.values())
    print("autobahn: %-6s %5s  %-40s %s" % ("group", "cases", "behavior", "behaviorClose"))
    for name, members in groups.items():
        print("autobahn: %-6s %5d  %-40s %s" % (
            name, len(members), tally(members, "behavior"), tally(members, "behaviorClose")))


def tally(members, field):
    counts = collections.Counter(member[field] for member in members)
    order = sorted(counts, key=lambda behavior: (behavior != "OK", behavior))
    return ", ".join("%d %s" % (counts[behavior], behavior) for behavior in order)


def describe(result):
    name = result["reportfile"]
    detail = load_json(result["directory"], name)
    parts = []
    if result["behavior"] != "OK":
        parts.append("behavior %s: %s" % (result["behavior"], first_line(detail["result"])))
    if result["behaviorClose"] != "OK":
        parts.append("behaviorClose %s: %s" % (result["behaviorClose"], first_line(detail["resultClose"])))
    parts.append("close code %s" % result["remoteCloseCode"])
    return "; ".join(parts) + " [%s]" % name.replace(".json", ".html")


def first_line(text):
    return text.split("\n")[0][:160]


def read_results(reports):
    """The results of all processes by case, each with the directory it was found in."""
    results = {}
    for directory in sorted(glob.glob(os.path.join(reports, "*"))):
        # A process that broke off wrote none; its cases are missed below.
        if os.path.exists(os.path.join(directory, "index.json")):
            for agent in load_json(directory, "index.json").values():
                for case, result in agent.items():
                    results[case] = dict(result, directory=directory)
    return results


def read_planned(logs):
    """The cases wstest said it would run."""
    planned = set()
    for log in glob.glob(os.path.join(logs, "*.log")):
        with io.open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("Cases = ["):
                    planned.update(ast.literal_eval(line[len("Cases = "):].strip()))
    return planned


def load_json(directory, name):
    with io.open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
        return json.load(file)


def group_of(case):
    return case.split(".")[0]


def in_order(cases):
    return sorted(cases, key=lambda case: [int(part) for part in case.split(".")])


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
