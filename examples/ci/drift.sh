#!/usr/bin/env bash
# For cron, which mails what a job prints. Prints nothing while the cluster matches the policy.
set -o pipefail

report=$(rolecall drift "${1:-/srv/access}" 2>&1)
code=$?
case $code in
    0) exit 0 ;;
    2) echo "The access differs from the policy:" ;;
    *) echo "rolecall drift failed with exit code $code:" ;;
esac
printf '%s\n' "$report"
exit "$code"
