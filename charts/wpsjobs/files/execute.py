"""What `helm test` runs in a pod: one asynchronous Execute, with the standard library alone."""

import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from xml.etree import ElementTree

WPS = "{http://www.opengis.net/wps/1.0.0}"
OWS = "{http://www.opengis.net/ows/1.1}"


def service() -> str:
    """The service's URL in the cluster: by its address, for not every cluster has a DNS."""
    prefix = os.environ["SERVICE"].upper().replace("-", "_")
    host = os.environ.get(f"{prefix}_SERVICE_HOST")
    host = host or f"{os.environ['SERVICE']}.{os.environ['NAMESPACE']}.svc"
    return f"http://{host}:{os.environ['SERVICE_PORT']}"


def read(url: str) -> ElementTree.Element:
    """The XML document at *url*, also where it is a refusal."""
    public = urllib.parse.urlsplit(os.environ["PUBLIC_URL"]).netloc
    request = urllib.request.Request(url, headers={"Host": public})  # for ALLOWED_HOSTS
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return ElementTree.fromstring(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read()
        if b"ExceptionReport" in body:
            return ElementTree.fromstring(body)
        sys.exit(f"{url}: {error}")
    except OSError as error:
        sys.exit(f"{url}: {error}. See: kubectl get pods -n {os.environ['NAMESPACE']}")


def words(document: ElementTree.Element) -> str:
    """All exception texts of *document*."""
    texts = [one.text or "" for one in document.iter(f"{OWS}ExceptionText")]
    return " ".join(texts) or "no exception text"


def main() -> None:
    process, began = os.environ["PROCESS"], time.monotonic()
    namespace, base = os.environ["NAMESPACE"], service()
    query = (
        "service=WPS&version=1.0.0&request=Execute&storeExecuteResponse=true&status=true"
        f"&identifier={process}&DataInputs={os.environ['INPUTS']}"
    )
    print(f"Execute of {process} at {base}/ows", flush=True)
    document = read(f"{base}/ows?{query}")
    location = document.get("statusLocation")
    if location is None:
        sys.exit(f"{process} was refused: {words(document)}")
    job = location.split("/")[-2]
    # The published URL may lead here by a way that only clients outside have.
    path = urllib.parse.urlsplit(location).path
    last = ""
    while time.monotonic() - began < float(os.environ["SECONDS"]):
        document = read(base + path)
        status = document.find(f"{WPS}Status")
        found = status[0] if status is not None and len(status) else None
        name = "" if found is None else found.tag.replace(WPS, "")
        if name != last:
            print(f"{time.monotonic() - began:6.1f} s  {job}  {name}", flush=True)
            last = name
        if name == "ProcessSucceeded":
            print(f"{process} succeeded; clients find the result by {location}")
            return
        if name == "ProcessFailed":
            sys.exit(
                f"{process} failed: {words(document)}\n"
                f"See: kubectl describe wpsjob {job} -n {namespace}"
            )
        time.sleep(0.5)
    sys.exit(
        f"{process} was not finished after {os.environ['SECONDS']} s, the last word is {last}.\n"
        f"See: kubectl describe wpsjob {job} -n {namespace}; kubectl get wpsqueues -n {namespace}"
    )


main()
