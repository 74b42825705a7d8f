#!/bin/sh
# Stands in for `bellwether train PIPELINE --out DIR ...`: does what the pipeline's line "# fake: " says.
out=$4
eval "$(sed -n 's/^# fake: //p' "$2")"
