"""The load generator against a foreign server behind TLS, with a certificate made here.

    wss_server.py WIRELOOP-BENCH

Fails if an echo does, or if a certificate is trusted that should not be. Needs openssl.
"""

import asyncio
import pathlib
import ssl
import subprocess
import sys
import tempfile

from websockets.asyncio.server import serve

CASES = [
    # Options, the exit codes that are right, and what the report says.
    ("--ca {ca} --sni localhost", (0, 3), "ok: 20 of 20 connections, no errors"),
    ("--ca {ca} --sni localhost -s 16-4k --depth 4 --text", (0, 3), "no errors"),
    ("--ca {ca} --sni localhost --compression kept --json -s 1k", (0, 3), "no errors"),
    ("--ca {ca} --sni localhost -R 500 --ping-every 100ms", (0, 3), "no errors"),
    ("--insecure", (0, 3), "any certificate accepted"),
    ("--ca {ca}", (1,), "the certificate is for another name"),
    ("", (1,), "20 x TLS failed"),
]


def make_certificates(directory):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=directory, capture_output=True)

    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=tests")
    openssl("req", *ec, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    (directory / "names").write_text("subjectAltName=DNS:localhost\n")
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    openssl("x509", "-req", "-in", "request.pem", *authority, "-out", "cert.pem")


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def check(bench, url, directory, options, codes, expected):
    options = options.format(ca=directory / "ca.pem").split()
    command = [bench, "--quiet", "-c", "20", "-d", "500ms", "--warm-up", "100ms", *options, url]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    text = output.decode()
    if process.returncode not in codes or expected not in text:
        print(text)
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")


async def main():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        make_certificates(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            for case in CASES:
                await check(sys.argv[1], url, directory, *case)
    print(f"{len(CASES)} passed, 0 failed")


asyncio.run(main())
