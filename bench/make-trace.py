#!/usr/bin/env python3
"""Writes an exit trace: make-trace.py SHARES [--requests N] [--mean M] [--cap C] [--equal] > trace

SHARES, such as 0.8,0.2, are of tokens that leave after each loop. A line is a request; its length is geometric with mean
M, at most C, or M for all. rrt bench --exit-trace and rrt simulate --trace read it. Seed 1.
"""
import argparse
import math
import random

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("shares", type=lambda text: [float(share) for share in text.split(",")])
parser.add_argument("--requests", type=int, default=1000)
parser.add_argument("--mean", type=int, default=128)
parser.add_argument("--cap", type=int, default=512)
parser.add_argument("--equal", action="store_true")
options = parser.parse_args()
draw = random.Random(1)
loops = range(1, len(options.shares) + 1)
for _ in range(options.requests):
    length = 1 + int(math.log(1 - draw.random()) / math.log(1 - 1 / options.mean))
    length = options.mean if options.equal else min(length, options.cap)
    print(*draw.choices(loops, options.shares, k=length))
