#!/usr/bin/python3
"""The suite has to be able to fail: each mutant is the Python package with one place changed, and the case that is about it has to
fail on it.

usage: mutants.py [--some COUNT] [--seed N] [--verbose]
  --some    only so many, picked by the seed
"""
import argparse
import os
import random
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import mutants_python  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = "the tests of python/"
BUILD = os.path.join(ROOT, "build", "http-mutants")
PACKAGE = os.path.join(ROOT, "client", "python")
MUTANT_S = 120

# (file, what is there, what stands there instead, application, case)
MUTANTS = [
    ("request.py", "parts = [None if scope is None else", "scope = None\n    parts = [None if scope is None else", "flask",
     "two_users_have_keys_of_their_own"),
    ("guard.py", "user = view.user()", "user = None", "starlette", "two_users_have_keys_of_their_own"),
    ("guard.py", "return scope_of_authorization(authorization)", "pass", "flask", "another_authorization_is_another_caller"),
    ("guard.py", 'self.engine.no_scope.warning("', 'str("', "flask", "cookies_are_no_callers_and_it_warns_once"),
    ("request.py", "if len(values) > 1:", "if False:", "starlette", "several_key_headers_are_refused"),
    ("request.py", 'r"[!#-+\\--~]+"', 'r"[!#-~]+"', "flask", "several_key_headers_are_refused"),
    ("request.py", "if len(key) > KEY_LIMIT:", "if False:", "flask", "malformed_keys_are_refused"),
    ("request.py", "KEY_LIMIT = 255", "KEY_LIMIT = 254", "flask", "the_longest_and_the_shortest_key_are_taken"),
    ("request.py", 're.sub(r"\\\\(.)", r"\\1", quoted[1][1:-1])', "quoted[1][1:-1]", "flask", "escapes_are_resolved"),
    ("request.py", "path + b\"?\" + query if query else path", "path", "flask", "another_query_or_another_spelling"),
    ("request.py", "for piece in _pieces(body, content_type, key_field):", "for piece in []:", "flask",
     "another_body_under_the_same_key_is_422"),
    ("request.py", 'if kind == "multipart/form-data"', "if False", "flask", "a_new_boundary_is_the_same"),
    ("guard.py", 'method, named = _now("operation", settings.operation(view.native))', 'named = "/work/v1"', "flask", "the_operation_can_be"),
    ("guard.py", 'or bool(self.settings.skip and _now("skip", self.settings.skip(view.native)))', "", "flask", "requests_can_be_skipped"),
    ("guard.py", "return method in self.settings.methods and method not in self._unguarded",
     "return method in self.settings.methods", "flask", "methods_can_be_added_but_not_safe_ones"),
    ("guard.py", "if isinstance(asked, (Busy, BusyKey)):", "if isinstance(asked, Busy):\n            return None\n"
     "        if isinstance(asked, BusyKey):", "flask", "a_duplicate_while_it_runs_is_409"),
    ("guard.py", "if self.settings.fail_open:", "if True:", "flask", "without_the_server_nothing_runs"),
    ("guard.py", "if self._waiting >= self.max_waiting:", "if False:", "flask", "no_more_wait_than_may"),
    ("guard.py", "hold=settings.hold", "hold=False", "flask", "with_hold_nobody_runs_it_again"),
    ("guard.py", "born_ms=self._born(view, key)", "born_ms=None", "flask", "what_the_server_may_have_forgotten_is_412"),
    ("guard.py", "if isinstance(error, BornAhead):", "if False:", "flask", "the_birth_can_be_in_the_key"),
    ("guard.py", "(0, status >= 500)", "(0, False)", "flask", "a_5xx_is_shared_and_the_next_is_attempt_2"),
    ("guard.py", "status < 500 and status not in RETRYABLE", "status < 500", "flask", "what_says_nothing_about_the_work"),
    ("guard.py", "status < 500 and status not in RETRYABLE", "200 <= status < 300", "flask", "what_is_not_an_error"),
    ("guard.py", "unsure=not (claim.nothing or isinstance(error, DidNothing))", "unsure=False", "flask",
     "after_an_exception_who_waits_runs_as_attempt_2"),
    ("guard.py", "unsure=not (claim.nothing or isinstance(error, DidNothing))", "unsure=True", "flask",
     "who_did_nothing_leaves_attempt_1"),
    ("guard.py", "        if claim.nothing:\n            self._release(claim, unsure=False)\n            return None\n", "", "flask",
     "did_nothing_can_be_said_beside_an_answer"),
    ("guard.py", "else int(claim.kept)", "else self.settings.ttl_ms", "flask", "a_handler_can_ask_for_less"),
    ("guard.py", "return self._overtaken(claim)", "return None", "flask", "a_paused_owner_gets_the_answer"),
    ("guard.py", "if isinstance(found, Busy):", "if False:", "flask", "who_was_overtaken_by_one_that_runs_says_409"),
    ("guard.py", "and not late.start()", "and False", "flask", "what_could_not_be_stored_is_stored_later"),
    ("guard.py", "tail(claim.key), error)\n            return self._store(claim, status, b\"\", None, ttl_ms, unsure)",
     "tail(claim.key), error)\n            return None", "flask",
     "what_is_too_big_for_the_server_is_a_410"),
    ("claims.py", "self.renewal.start()", "pass", "flask", "work_may_take_longer_than_the_lease"),
    ("renewer.py", "if time.monotonic() < self._give_up:", "if True:", "flask", "what_hangs_is_not_renewed_for_ever"),
    ("renewer.py", "            self.lost = True\n", "", "flask", "a_handler_can_see_that_it_is_lost"),
    ("response.py", '"set-cookie", ', "", "flask", "some_headers_go_to_the_first_client_only"),
    ("response.py", "and name.lower() not in hop_by_hop", "", "wsgi", "named_headers_are_not_stored"),
    ("response.py", 'and not name.lower().startswith("access-control-")', "", "flask", "some_headers_go_to_the_first"),
    ("response.py", "and name.lower() not in drop", "", "flask", "named_headers_are_not_stored"),
    ("response.py", "if version != VERSION or", "if False or", "flask", "a_record_of_another_version_is_not_replayed"),
    ("response.py", '[*pairs, ("idempotent-replayed", "true")]', "pairs", "flask", "the_other_process_replays_too"),
    ("response.py", 'headers.append(("retry-after", str(RETRY_AFTER_S)))', "pass", "flask", "a_duplicate_is_told_when"),
    ("settings.py", "or not low <= value <= high", "", "flask", "wrong_settings_end_the_process"),
    ("wsgi.py", "close(response)\n        if run.", "start_response(status, own.with_length())\n        close(response)\n"
     "        if run.", "wsgi", "a_paused_owner_gets_the_answer"),
    ("wsgi.py", "            if not self._drained(pieces):\n", "            if True:\n", "wsgi",
     "a_long_response_goes_on_without_its_client"),
    ("wsgi.py", "if len(body) > guard.settings.request_limit:", "if False:", "flask", "a_request_over_the_limit_is_413"),
    ("flask.py", "run.raised = request.environ[SEEN]", "pass", "flask", "after_an_exception_who_waits_runs_as_attempt_2"),
    ("flask.py", "return scope_text(flask_login.current_user.get_id(), \"the user's get_id()\")", "pass", "flask", "two_users_have_keys_of_their_own"),
    ("django.py", "request._idem_raised = exception", "pass", "django", "after_an_exception_who_waits_runs_as_attempt_2"),
    ("django.py", "raised is not None and response.status_code >= 500", "raised is not None", "django",
     "an_http_exception_is_an_answer"),
    ("django.py", "            response._resource_closers.insert(0, response._resource_closers.pop())\n", "", "django",
     "a_long_response_that_fails_without_its_client"),
    ("django.py", "[(file.name, _digest(file)) for file in files]", "[]", "django", "files_that_were_parsed_before"),
    ("asgi.py", "lambda: _left(receive)", "lambda: asyncio.sleep(9)", "starlette",
     "a_client_that_leaves_while_it_waits_is_never_granted"),
    ("asgi.py", "await self._over.wait()", "pass", "starlette", "a_long_response_goes_on_without_its_client"),
    ("asgi.py", "found = find_route(scope, self._app) if Route.declared else Found()", "found = Found()", "starlette",
     "a_route_can_require_a_key"),
    ("report.py", "return record[-NAME_CHARACTERS:]", "return record", "flask", "logs_have_no_secrets"),
    *((file, old, new, PYTHON, f"{module} {test}") for file, old, new, module, test in mutants_python.MUTANTS),
]


def judge(number, mutant):
    """None when the case fails as it should; else what is wrong."""
    file, old, new, app, case = mutant
    folder = os.path.join(BUILD, str(number))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    path = os.path.join(folder, "idem", file)
    with open(path, encoding="utf-8") as source:
        text = source.read()
    if text.count(old) < 1:
        return "its place is not there any more"
    with open(path, "w", encoding="utf-8") as source:
        source.write(text.replace(old, new, 1))
    module, _, test = case.partition(" ")
    words = ["python/run.py", module, "-k", test] if app == PYTHON else ["run.py", "--app", app, "-k", case, "--quiet"]
    done = subprocess.run([sys.executable, os.path.join(HERE, words[0]), *words[1:]],
                          env={**os.environ, "IDEM_TEST_PACKAGE": folder, "IDEM_TEST_LIMIT_S": "15",
                               "IDEM_HANG_SECONDS": "4"}, capture_output=True, text=True, timeout=MUTANT_S)
    if "SKIPPED" in done.stdout or "no case ran" in done.stdout or "Ran 0 tests" in done.stderr:
        return (done.stdout + done.stderr).strip()
    return None if done.returncode else "the case passes"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--some", type=int, default=len(MUTANTS))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    numbers = [number for number, mutant in enumerate(MUTANTS) if given.only in " ".join((mutant[0], mutant[3], mutant[4]))]
    numbers = sorted(random.Random(given.seed).sample(numbers, min(given.some, len(numbers))))
    bad = 0
    for number in numbers:
        file, old, new, app, case = MUTANTS[number]
        wrong = judge(number, MUTANTS[number])
        bad += wrong is not None
        if wrong or given.verbose:
            print(f"{'FAILED' if wrong else 'found'}: {file}: {old.strip()!r} -> {new.strip()!r} ({app}, {case}): {wrong}",
                  flush=True)
    print(f"http mutants: {len(numbers)} mutants, {bad} of them passed (--seed {given.seed})")
    return 1 if bad or not numbers else 0


if __name__ == "__main__":
    sys.exit(main())
