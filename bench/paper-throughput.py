#!/usr/bin/env python3
"""The paper's throughput tables through our scheduler: bench/paper-throughput.py [paper-timings.json] [--mean 700] [--cap 2048]

For each row of tables K.1/K.2 (or K.3/K.4: paper-timings-16gb.json): `depth` over continuous batching of the original, with the blocks'
times alone, as the paper counts, and with embedding and head of those that enter and leave; the paper's figure; the paper's greatest batch
and what memory would hold. The 2,000 requests have geometric lengths.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RRT = HERE.parent / "build/rrt"


def simulate(cases, trace, work):
    timings = work / "timings.json"
    timings.write_text(json.dumps({"cases": cases}))
    out = subprocess.run([RRT, "simulate", "--timings", timings, "--trace", trace, "--json"], stdout=subprocess.PIPE, check=True).stdout
    return [row for row in json.loads(out)["rows"] if row["batching"] == "depth"]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("timings", nargs="?", type=pathlib.Path, default=HERE / "paper-timings.json")
parser.add_argument("--mean", default="700")
parser.add_argument("--cap", default="2048")
options = parser.parse_args()
cases = json.loads(options.timings.read_text())["cases"]
blocks = [{key: value for key, value in case.items() if key not in ("embedding_ms", "head_ms")} for case in cases]
with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    make_trace = [HERE / "make-trace.py", "1", "--requests", "2000", "--mean", options.mean, "--cap", options.cap]
    (work / "trace").write_bytes(subprocess.run(make_trace, stdout=subprocess.PIPE, check=True).stdout)
    print("| | blocks | with embedding and head | the paper | batch | memory holds |\n| --- | --- | --- | --- | --- | --- |")
    for case, block, whole in zip(cases, simulate(blocks, work / "trace", work), simulate(cases, work / "trace", work)):
        print(f"| {case['name']} | {block['over_sequence']:.2f} | {whole['over_sequence']:.2f} | {case['paper']['over_sequence']:.2f} | "
              f"{case['batch']} | {whole['fits']} |")
