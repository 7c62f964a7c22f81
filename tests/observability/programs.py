"""The programs of the check: the testbench, Prometheus, and a browser by its WebDriver; nothing is asserted here."""

import base64
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(what, look, limit=30.0):
    """Waits for a true value of `look` and returns it."""
    end = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(0.2)


def request(url, method="GET", headers=None, body=None):
    """The status and the text, also of an error."""
    asked = urllib.request.Request(url, method=method, headers=headers or {}, data=body)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Program:
    """A process that is ended with this object, by its own id."""

    def __init__(self, words, log):
        self.log = open(log, "wb")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=subprocess.STDOUT)

    def end(self):
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.log.close()


class Testbench(Program):
    def __init__(self, program, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.program, self.folder = program, folder
        self.start()

    def start(self):
        super().__init__([self.program, "--port", str(self.port)], f"{self.folder}/testbench.log")
        until("the testbench serves", lambda: request(self.url + "/health")[0] == 200)

    def press(self, button):
        status, text = request(f"{self.url}/press/{button}", "POST", {"x-testbench": "1"}, b"")
        assert status == 204, f"{button}: {status} {text}"


# Minutes become seconds, so that the check takes minutes. A `for` stays longer than the window of its expression.
SHORTER = {"for: 30s": "for: 2s", "for: 1m": "for: 4s", "for: 2m": "for: 6s", "for: 5m": "for: 6s", "[1m]": "[4s]", "[2m]": "[5s]"}


class Prometheus(Program):
    def __init__(self, target_port, rules, folder):
        text = open(rules).read()
        for long, short in SHORTER.items():
            text = text.replace(long, short)
        assert not re.search(r"for: \d+m|\[\d+m\]", text), "a window without a shorter one"
        open(f"{folder}/alarms.yml", "w").write(text)
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alarms.yml"],
            "scrape_configs": [{"job_name": "testbench", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}],
        }
        json.dump(config, open(f"{folder}/prometheus.yml", "w"))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/v1"
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        super().__init__(["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], f"{folder}/prometheus.log")
        until("Prometheus answers", lambda: request(f"{self.url}/alerts")[0] == 200)

    def query(self, expression):
        """The result, or the error as text."""
        _, text = request(f"{self.url}/query?" + urllib.parse.urlencode({"query": expression}))
        answer = json.loads(text)
        return answer["data"]["result"] if answer["status"] == "success" else answer["error"]

    def rules(self):
        answer = json.loads(request(f"{self.url}/rules")[1])
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    def alerts(self):
        """Those that are pending, and those that fire."""
        return json.loads(request(f"{self.url}/alerts")[1])["data"]["alerts"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.alerts() if alert["state"] == "firing"}


SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,1180"]


class Browser(Program):
    def __init__(self, folder):
        port = free_port()
        super().__init__(["chromedriver", f"--port={port}"], f"{folder}/chromedriver.log")
        self.url = f"http://127.0.0.1:{port}"
        until("chromedriver answers", lambda: request(self.url + "/status")[0] == 200)
        options = {"args": [*SWITCHES, f"--user-data-dir={folder}/profile"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + session["sessionId"]

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        status, text = request(self.url + path, method, {"Content-Type": "application/json"}, data)
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text)["value"]

    def open(self, url):
        self.ask("POST", self.session + "/url", {"url": url})

    def run(self, script):
        return self.ask("POST", self.session + "/execute/sync", {"script": script, "args": []})

    def click(self, selector):
        found = self.ask("POST", self.session + "/element", {"using": "css selector", "value": selector})
        self.ask("POST", f"{self.session}/element/{next(iter(found.values()))}/click", {})

    def console(self):
        return self.ask("POST", self.session + "/se/log", {"type": "browser"})

    def screenshot(self, path):
        open(path, "wb").write(base64.b64decode(self.ask("GET", self.session + "/screenshot")))

    def end(self):
        self.ask("DELETE", self.session)
        return super().end()
