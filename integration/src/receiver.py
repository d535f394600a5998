"""A server that notes what is posted to it, over TLS: receiver.py FOLDER PORT [KEY].

FOLDER holds its certificate and key, gets what is heard, a line of JSON each, and may hold `answers`:
the status of one answer a line, after which everything is taken. With a KEY it takes only what the
library `standardwebhooks` finds signed with it. Below /api/v4 statuses behave as GitLab documents it:
one that stands already is not set again.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER, PORT, KEY = Path(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [None])[0]
LOCK = threading.Lock()
STATES = {}


def verified(body, headers):
    if KEY is None:
        return True
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    try:
        Webhook(KEY).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def count(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def answer(path, body):
    heard = count(FOLDER / "heard")
    answers = (FOLDER / "answers").read_text().split() if (FOLDER / "answers").exists() else []
    if heard < len(answers):
        return int(answers[heard]), "as it was told to say"
    if path.startswith("/api/v4/"):
        key, state = (path, body["name"]), body["state"]
        if STATES.get(key) == state and state in ("pending", "running"):
            verb = {"pending": "enqueue", "running": "run"}[state]
            return 400, f"Cannot transition status via :{verb} from :{state}"
        STATES[key] = state
    return 201, "taken"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with LOCK:
            is_verified = verified(body, headers)
            parsed = json.loads(body)
            status, message = answer(self.path, parsed) if is_verified else (401, "not signed")
            line = {
                "path": self.path,
                "headers": headers,
                "body": parsed,
                "verified": is_verified,
                "answer": status,
            }
            with open(FOLDER / "heard", "a") as heard:
                heard.write(json.dumps(line) + "\n")
        text = json.dumps({"message": message}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        if status == 302:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(FOLDER / "cert.pem", FOLDER / "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
(FOLDER / "port.new").write_text(str(server.server_port))
(FOLDER / "port.new").rename(FOLDER / "port")
server.serve_forever()
