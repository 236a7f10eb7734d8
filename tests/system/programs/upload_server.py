"""Takes one PUT and answers with the hash of its body: upload_server.py ADDRESS PORT."""
import hashlib
import http.server
import socket
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left > 0:
            block = self.rfile.read(min(left, 1 << 16))
            if not block:
                return
            digest.update(block)
            left -= len(block)
        body = digest.hexdigest().encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET


with Server((sys.argv[1], int(sys.argv[2])), Handler) as server:
    server.handle_request()
