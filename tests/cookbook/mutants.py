#!/usr/bin/python3
"""Recipes with one place changed: the test of each has to fail.

usage: mutants.py [-k PATTERN]
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "..", "..", "client", "COOKBOOK.md")
STEP_S = "4"  # how long a test waits for what does not come

# recipe, what it says, what it says instead, the test that has to fail
MUTANTS = [
    ("payment.py", "@idempotent(required=True, hold=True)", "@idempotent(required=True)", "Payment.test_an_answer_of_the_bank_that_is_lost"),
    ("payment.py", "    g.idempotency.set_stage(order[\"id\"])\n", "", "Payment.test_after_a_crash_nobody_charges"),
    ("payment.py", "raise DidNothing(\"The bank is closed.\")", "raise", "Payment.test_a_bank_that_is_closed"),
    ("payment.py", "error.code == 402", "error.code == 403", "Payment.test_a_declined_card"),
    ("settle.py", "\"OLDER\", OLDER_MS", "\"OLDER\", 0", "Payment.test_what_is_young"),
    ("settle.py", "\"CLEAR\"", "\"UNSURE\"", "Payment.test_after_a_crash_in_which_nothing_was_charged"),
    ("webhook.js", "return res.sendStatus(401)", "console.log()", "Webhook.test_a_forged_one"),
    ("webhook.js", "header: 'X-GitHub-Delivery'", "header: 'X-Request-Id'", "Webhook.test_a_redelivery"),
    ("webhook.js", "shipped.ok ? 204 : 502", "204", "Webhook.test_one_that_failed"),
    ("worker.py", "STEPS.index(claim.stage) + 1 if claim.stage else 0", "0", "Worker.test_the_next_worker"),
    ("worker.py", "        claim.set_stage(step)\n", "", "Worker.test_the_next_worker"),
    ("crontab", "--hold ", "", "Cron.test_one_that_died"),
    ("crontab", "--wait 0 ", "", "Cron.test_one_of_two"),
    ("form.py", "{{ idempotent_input() }}", "", "Form.test_a_double_click"),
    ("graphql.js", "some(crashed) ? 500 : 200", "some(crashed) ? 200 : 200", "GraphQL.test_a_resolver_that_crashed"),
    ("graphql.js", " && !(originalError instanceof GraphQLError)", "", "GraphQL.test_an_error_on_purpose"),
    ("graphql.js", "request.idempotency?.keep(false)", "null", "GraphQL.test_a_query_needs_no_key"),
    ("price_postgres.py", " AND fence <= %s\",\n                     (price, token, product, token))", "\",\n                     (price, token, product))",
     "PostgresRow.test_one_that_wakes_up"),
    ("price_s3.js", ", ...condition }", " }", "S3Object.test_one_that_looked_before_a_later"),
    ("price_s3.js", "if (fence > token)", "if (false)", "S3Object.test_one_that_wakes_up"),
    ("price_s3.js", "Body: JSON.stringify({ price, fence: token })", "Body: JSON.stringify({ price, fence: 0 })", "S3Object.test_one_that_wakes_up"),
    ("prices.py", " WHERE excluded.fence >= fence", "", "HttpApi.test_one_that_wakes_up"),
    ("price_http.py", "str(work.claim.token)", "str(2 ** 53)", "HttpApi.test_one_that_wakes_up"),
]


def mutated(page, recipe, old, new):
    begin = page.index(f"<!-- run: {recipe} -->")
    end = page.index("\n```\n", begin)
    text = page[begin:end]
    if text.count(old) != 1:
        raise SystemExit(f"{recipe} does not have exactly once: {old}")
    return page[:begin] + text.replace(old, new) + page[end:]


def survives(page, recipe, old, new, test):
    """What the test said, if it did not fail; else None."""
    with tempfile.NamedTemporaryFile("w", suffix=".md", encoding="utf-8") as file:
        file.write(mutated(page, recipe, old, new))
        file.flush()
        done = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "-k", test], capture_output=True, text=True,
                              env={**os.environ, "IDEM_COOKBOOK": file.name, "IDEM_COOKBOOK_S": STEP_S})
    ran = re.search(r"^Ran 1 test in", done.stderr, re.M)
    return None if done.returncode != 0 and ran else done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", default="")
    given = parser.parse_args()
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    left = 0
    for recipe, old, new, test in MUTANTS:
        if given.k not in f"{recipe} {test}":
            continue
        said = survives(page, recipe, old, new, test)
        left += said is not None
        print("ok" if said is None else "NOT SEEN", f"{recipe}: {old.strip()} -> {new.strip()}", flush=True)
        if said:
            print(said)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
