"""A certificate of our own for a name, for tests of TLS on this machine."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def certificate_for(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate's file, to be trusted by who asks, and the context of the server that has it."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test"]
    named = ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *kind, *named], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context
