//! Text shown after the options in `--help`: exit codes and examples.
//!
//! The tests of `reference` check that the examples are valid commands.

pub(super) const OVERVIEW: &str = "\
First steps (a policy is a TOML file, or a directory of them):
  rolecall snapshot --context prod --out cluster.yaml   save what the cluster has; reads only
  rolecall schema --example > rolecall.toml             a policy to edit
  rolecall plan --snapshot cluster.yaml                 the changes and their effect, offline
  rolecall apply                                        the changes in the cluster, after a prompt

Exit codes:
  0  success
  1  error or wrong usage, `can`: no, `permissions --check`: a permission is missing
  2  `drift` found differences, `plan --detailed-exitcode` found changes
  3  a guard refused the plan or an invariant is violated

Examples:
  rolecall plan access/
  rolecall apply access/
  rolecall who-can get secrets -n team-a";

pub(super) const PLAN: &str = "\
Exit codes:
  0  success
  1  error
  2  there are changes, with --detailed-exitcode
  3  a guard refused the plan or an invariant is violated

Examples:
  rolecall plan access/
  rolecall plan access/ --cluster prod --out plan.json
  rolecall plan access/ --snapshot cluster.yaml";

pub(super) const SHOW: &str = "\
Exit codes:
  0  success
  1  error

Examples:
  rolecall show plan.json
  rolecall show plan.json -o markdown
  rolecall show backups/prod-20260101T090000Z.yaml";

pub(super) const COMMENT: &str = "\
Exit codes:
  0  the comment was posted or updated, or was up to date; with --digests: the comments were read
  1  error

Examples:
  rolecall comment plan.md
  rolecall comment plan.json --forge github --repo org/access --number 12
  rolecall comment --digests > digests.txt";

pub(super) const APPLY: &str = "\
Exit codes:
  0  the changes were made, or there were none
  1  error, or the apply was cancelled
  3  a guard refused the plan or an invariant is violated; no changes were made

Examples:
  rolecall apply access/
  rolecall apply access/ --approved sha256:DIGEST --backup backups
  rolecall apply --plan plan.json";

pub(super) const RESTORE: &str = "\
Exit codes:
  0  the changes were made, or there were none
  1  error, or the restore was cancelled
  3  a guard refused the plan; no changes were made

Examples:
  rolecall restore backups/prod-20260101T090000Z.yaml
  rolecall restore backups/prod-20260101T090000Z.yaml --dry-run";

pub(super) const MIGRATE: &str = "\
Exit codes:
  0  success
  1  error, or the migration was cancelled
  3  a guard refused the plan: the authentication mode changes, or a principal would not keep its access

Examples:
  rolecall migrate access/ --cluster prod
  rolecall migrate access/ --cluster prod --allow auth-mode --apply
  rolecall migrate access/ --cluster prod --finish";

pub(super) const DRIFT: &str = "\
Exit codes:
  0  the cluster matches the policy
  1  error
  2  the cluster differs from the policy
  3  an invariant is violated in the cluster

Examples:
  rolecall drift access/
  rolecall drift access/ --cluster prod -o json";

pub(super) const VALIDATE: &str = "\
Exit codes:
  0  the policy is valid
  1  the policy has errors
  3  an invariant is violated

Examples:
  rolecall validate access/
  rolecall validate access/ -o sarif > rolecall.sarif";

pub(super) const TEST: &str = "\
Exit codes:
  0  all invariants hold
  1  error
  3  an invariant is violated

Examples:
  rolecall test access/
  rolecall test access/ --snapshot cluster.yaml -o junit > invariants.xml
  rolecall test access/ --cluster prod --current";

pub(super) const SNAPSHOT: &str = "\
Examples:
  rolecall snapshot --context prod --out cluster.yaml
  rolecall plan access/ --snapshot cluster.yaml";

pub(super) const WHOAMI: &str = "\
Examples:
  rolecall whoami --eks prod --region eu-west-1
  rolecall whoami --context prod";

pub(super) const CLUSTERS: &str = "\
Examples:
  rolecall clusters
  rolecall clusters access/
  rolecall clusters --region eu-west-1 --profile prod";

pub(super) const PERMISSIONS: &str = "\
Exit codes:
  0  success
  1  error, or a permission is missing with --check

Examples:
  rolecall permissions access/ --for plan --subject group:rolecall-plan | kubectl apply -f -
  rolecall permissions access/ --check
  rolecall permissions access/ --iam > iam-policy.json";

pub(super) const CAN: &str = "\
Exit codes:
  0  yes, to each verb and resource
  1  no
  2  not answered: unknown subject, verb, resource or namespace, or an error

Examples:
  rolecall can bob get,list pods,secrets -n team-a
  rolecall can sa:ci/deployer patch deployments.apps/web -n team-a --explain
  rolecall can group:developers get pods/log -A";

pub(super) const WHO_CAN: &str = "\
Exit codes:
  0  success
  2  not answered: unknown verb, resource or namespace, or an error

Examples:
  rolecall who-can get secrets
  rolecall who-can get secrets -n team-a
  rolecall who-can create pods/exec --cluster-wide --explain
  rolecall who-can escalate";

pub(super) const ACCESS: &str = "\
Examples:
  rolecall access
  rolecall access bob --explain
  rolecall access group:developers --policy access/ --after";

pub(super) const EXPLAIN: &str = "\
Examples:
  rolecall explain bob
  rolecall explain arn:aws:iam::111122223333:role/viewer --policy access/ --after
  rolecall explain group:developers -o markdown";
pub(super) const REPORT: &str = "\
Examples:
  rolecall report access/ > report.html
  rolecall report access/ --cluster prod -o csv > review.csv
  rolecall report --context prod > report.html";

pub(super) const GRAPH: &str = "\
Examples:
  rolecall graph > access.svg
  rolecall graph bob -o mermaid";

pub(super) const SCHEMA: &str = "\
Examples:
  rolecall schema policy > policy.schema.json";

pub(super) const MAN: &str = "\
Examples:
  rolecall man /usr/local/share/man/man1";

pub(super) const COMPLETIONS: &str = "\
Examples:
  rolecall completions bash > /etc/bash_completion.d/rolecall";
