"""Starts nginx from a lab's folder, on the stack or in the peer."""

PORT = 8080

CONFIGURATION = """
user root;
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log;
  sendfile on;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {host}:{port};
    root {root};
  }}
}}
"""


def start_nginx(lab, on_stack, root):
    """`user root`: workers need not change their user, which a world of one user could not do."""
    folder = lab.directory(f"nginx-{'stack' if on_stack else 'peer'}")
    config = folder / "nginx.conf"
    config.write_text(CONFIGURATION.format(folder=folder, host="[::]" if lab.inet6 else "0.0.0.0", port=PORT, root=root))
    nginx = lab.start(on_stack, "/usr/sbin/nginx", "-c", config, "-p", folder, "-e", "stderr")
    lab.wait_listening(on_stack, PORT, nginx)
    return nginx
