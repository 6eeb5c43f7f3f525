"""Only reads: the sum of a table's column."""

import csv
import sys

from totals import total

try:
    with open("stock.csv", newline="") as file:
        print(f"{total(csv.DictReader(file))} pieces", flush=True)
except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
    sys.exit(f"stock.csv cannot be counted: {error}")
