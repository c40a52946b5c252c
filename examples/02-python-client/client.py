"""Execute NDVI by OWSLib (``pip install OWSLib``), and fetch what comes of it."""

import os
import sys
import urllib.request

from owslib.wps import ASYNC, WebProcessingService, monitorExecution

wps = WebProcessingService(os.environ["WPS"], version="1.0.0", skip_caps=True)
execution = wps.execute(
    "NDVI", inputs=[("threshold", "0.2")], output=[("ndvi", True), ("mean", False)], mode=ASYNC
)
print("status at", execution.statusLocation)
monitorExecution(execution, sleepSecs=1, download=False)
if not execution.isSucceded():
    sys.exit("; ".join(error.text for error in execution.errors))

for output in execution.processOutputs:
    if output.reference:
        urllib.request.urlretrieve(output.reference, "ndvi.tif")
        print("stored ndvi.tif")
    else:
        print(output.identifier, "is", output.data[0])
