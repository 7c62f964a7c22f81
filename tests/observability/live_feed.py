"""Asks a real browser whether the page of the example live_feed shows messages, a gap while the server is away, and messages again.

Seen to bite: a page that does not listen for `gap` ("not within 30 s: the page shows the gap").
"""

import signal
import sys
import tempfile

from programs import Browser, Program, free_port, request, until


class Redis(Program):
    def __init__(self, folder):
        self.port, self.folder = free_port(), folder
        self.start()

    def start(self):
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        super().__init__(["redis-server", "--port", str(self.port), *options], f"{self.folder}/redis.log")

    def kill(self):
        self.process.kill()
        self.process.wait()


class LiveFeed(Program):
    def __init__(self, program, redis, folder):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        words = ["env", f"REDIS_URL=redis://127.0.0.1:{redis.port}", program, str(port)]
        super().__init__(words, f"{folder}/live_feed.log")
        until("the example serves", lambda: request(self.url + "/")[0] == 200)


def check_page(feed, redis, browser):
    browser.open(feed.url + "/")
    shown = lambda kind: browser.run(f"return [...document.querySelectorAll('li.{kind}')].map(item => item.textContent)")
    until("the page is live", lambda: browser.run("return document.querySelector('#link').textContent") == "live")
    until("the page shows messages", lambda: len(shown("message")) > 2)
    assert request(feed.url + "/publish", "POST", {}, b"<b>by hand</b>")[0] == 204
    until("the page shows a message as text", lambda: "<b>by hand</b>" in shown("message"))
    assert not shown("gap")
    redis.kill()
    until("nothing can be published", lambda: request(feed.url + "/publish", "POST", {}, b"lost")[0] == 503)
    redis.start()
    until("the page shows the gap", lambda: len(shown("gap")) == 1)
    assert "ConnectionLost" in shown("gap")[0], shown("gap")
    until("messages come again", lambda: request(feed.url + "/publish", "POST", {}, b"again")[0] == 204)
    until("the page shows messages again", lambda: "again" in shown("message"))
    first = "return document.querySelector('li.gap').previousElementSibling.className"
    assert browser.run(first) == "message", "the gap is before the messages that came after it"
    assert len(shown("gap")) == 1 and "lost" not in shown("message")
    errors = [entry for entry in browser.console() if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors, errors
    assert feed.end() == 0, "it ends cleanly with a page open"
    print("live_feed: messages, a kill, its gap, and messages again were seen; it ended with the page open")


def main(program):
    # A check that is out of time ends its programs, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    running: list[Program] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            running.append(redis := Redis(folder))
            until("the server is up", lambda: "Ready to accept" in open(f"{folder}/redis.log").read())
            running.append(feed := LiveFeed(program, redis, folder))
            running.append(browser := Browser(folder))
            check_page(feed, redis, browser)
        finally:
            for each in reversed(running):
                each.end()


main(*sys.argv[1:])
