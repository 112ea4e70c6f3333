#!/usr/bin/env bash
# The manual is sound mdoc, by mandoc's own judgement.
# Usage: manual.sh SOURCE_ROOT
set -eu

if ! command -v mandoc >/dev/null; then
	echo "SKIP manual: mandoc is not installed (tools/setup --tests installs it)"
	exit 77
fi
# What it looks up in the database of manuals of this host says nothing of this one.
! mandoc -T lint "$1/docs/bifold.1" | grep -v 'STYLE: referenced manual not found' | grep .
