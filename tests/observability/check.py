"""Asks a real Prometheus and a real browser whether dashboard, alarms and page of the testbench work.

Seen to bite: a misspelt metric in a panel ("gives no data"); RedisConnectsFailing without its `unless` (it fires in `black-hole`);
0.98 for 0.8 in RedisConnectionsNearMaximum (it does not fire); faults that ended as soon as their alarm fired hid the second.
"""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time

from programs import Browser, Program, Prometheus, Testbench, request, until

ALARMS = "examples/prometheus/alarms.yml"
DASHBOARD = "examples/grafana/redis-manager.json"
# The button of a fault, and the alarm that it is for.
FAULTS = [
    ("slow", None),
    ("restart", None),
    ("close-node", None),
    ("black-hole", "RedisNodeDown"),
    ("freeze", "RedisNodeDown"),
    ("flood", "RedisCallersWait"),
    ("hold-most", "RedisConnectionsNearMaximum"),
    ("hold-all", "RedisGetsTimeOut"),
    ("full", "RedisConnectsFailing"),
]
# How long a fault lasts: longer than every window with its `for` in the shortened rules, so that any other alarm could fire.
FAULT_TIME = 12.0
# The name is that of OpenTelemetry's conventions; promtool takes `_count` for part of a histogram.
KNOWN_WARNINGS = {
    'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix',
}


def check_metrics(bench):
    status, text = request(bench.url + "/metrics")
    assert status == 200, text
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    lines = set((run.stdout + run.stderr).strip().splitlines())
    assert lines <= KNOWN_WARNINGS and run.returncode in (0, 3), lines - KNOWN_WARNINGS


def check_refusals(bench):
    press = bench.url + "/press/kill"
    assert request(press, "POST", {}, b"")[0] == 403, "a press without the header"
    assert request(bench.url + "/health", headers={"Host": "page.example"})[0] == 403, "another name of this machine"
    assert request(bench.url + "/press/nothing", "POST", {"x-testbench": "1"}, b"")[0] == 409


def dashboard_expressions():
    dashboard = json.load(open(DASHBOARD))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        # Without `> 0`: nothing of it need have happened in the window.
        yield annotation["name"], annotation["expr"].removesuffix(" > 0")
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            yield f"variable {variable['name']}", f"group by ({label}) ({selector})"


def operands(expression):
    """The selectors of an alarm: its comparisons are false as long as all is well."""
    for name, labels in re.findall(r"\b((?:db|redis)_client_\w+)(\{[^}]*\})?", expression):
        if name not in ("db_client_connection_pool_name", "db_client_connection_state"):
            yield name + labels


def check_expressions(prometheus):
    asked = 0
    for where, expression in dashboard_expressions():
        for variable in ("$job", "$pool", "$node"):
            expression = expression.replace(variable, ".*")
        expression = expression.replace("$__rate_interval", "10s")
        found = prometheus.query(expression)
        assert isinstance(found, list), f"{where}: {expression}: {found}"
        assert found, f"{where}: {expression} gives no data"
        asked += 1
    for rule in prometheus.rules():
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
        assert "description" in rule["annotations"], rule["name"]
        assert isinstance(prometheus.query(rule["query"]), list), rule["name"]
        for selector in operands(rule["query"]):
            assert prometheus.query(selector), f"{rule['name']}: {selector} gives no data"
            asked += 1
    print(f"expressions: {asked} have data")


def check_fault(bench, prometheus, button, alarm):
    began_at = time.monotonic()
    seen, fired_after = set(), []

    def look():
        seen.update(prometheus.firing())
        fired_after.extend([time.monotonic() - began_at] if alarm in seen and not fired_after else [])
        return time.monotonic() > began_at + FAULT_TIME and (not alarm or alarm in seen)

    bench.press(button)
    until(f"{alarm} fires in {button}", look, 40)
    bench.press("heal")
    healed_at = time.monotonic()

    def is_quiet():
        # One that is pending ends, or fires.
        seen.update(prometheus.firing())
        return not prometheus.alerts() and time.monotonic() > healed_at + 3 and request(bench.url + "/health")[0] == 200

    until(f"all is quiet after {button}", is_quiet)
    assert seen == ({alarm} if alarm else set()), f"{button}: {seen} fired, expected {alarm}"
    print(f"{button}: " + (f"{alarm} after {fired_after[0]:.1f} s" if alarm else "no alarm"), flush=True)


def check_page(bench, prometheus, browser, screenshot):
    browser.open(bench.url + "/")
    text = lambda selector: browser.run(f"return document.querySelector('{selector}').textContent")
    waiting = lambda: int(text("#waiting")) if text("#waiting").isdigit() else -1
    events = lambda: browser.run("return [...document.querySelectorAll('#events .text')].map(item => item.textContent)")
    until("the page is live and the node is up", lambda: text("#link") == "live" and text("#health") == "up")
    time.sleep(5)
    browser.click("[data-name=flood]")
    until("waiters rise in a flood", lambda: waiting() > 50)
    time.sleep(3)
    browser.click("[data-name=flood]")
    until("waiters fall after it", lambda: waiting() == 0)
    time.sleep(4)
    browser.click("[data-name=kill]")
    until("the node goes down", lambda: text("#health") == "down")
    assert request(bench.url + "/health")[0] == 503
    until("waiters rise", lambda: waiting() > 0)
    until("RedisNodeDown fires", lambda: "RedisNodeDown" in prometheus.firing())
    browser.click("[data-name=kill]")
    until("the node comes up", lambda: text("#health") == "up")
    until("waiters fall", lambda: waiting() == 0)
    for part in ("button: kill", "-> down", "down -> up", "caller failed"):
        until(f"an event with {part}", lambda: any(part in event for event in events()), 5)
    time.sleep(4)
    assert browser.run("return document.querySelectorAll('canvas').length") == 4
    browser.screenshot(screenshot)
    errors = [entry for entry in browser.console() if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors, errors
    # The page connects again, to a testbench that was started again.
    assert bench.end() == 0, "the testbench ends cleanly"
    until("the page sees that it is gone", lambda: text("#link") != "live")
    bench.start()
    until("the page is live again", lambda: text("#link") == "live" and text("#health") == "up")
    print("page: a flood, a kill, its events and a restart of the testbench were seen; no error in the console")


def main(program, screenshot):
    began_at = time.monotonic()
    # A check that is out of time ends its programs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    running: list[Program] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            running.append(bench := Testbench(program, folder))
            running.append(prometheus := Prometheus(bench.port, ALARMS, folder))
            check_metrics(bench)
            check_refusals(bench)
            time.sleep(10)
            check_expressions(prometheus)
            assert not prometheus.query('ALERTS{alertstate="firing"}[1m]'), "an alarm without a fault"
            running.append(browser := Browser(folder))
            check_page(bench, prometheus, browser, screenshot)
            until("no alarm is left", lambda: not prometheus.alerts())
            for button, alarm in FAULTS:
                check_fault(bench, prometheus, button, alarm)
        finally:
            for each in reversed(running):
                each.end()
    print(f"all in {time.monotonic() - began_at:.0f} s")


main(*sys.argv[1:])
